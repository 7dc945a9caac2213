"""The ResNet12 space and its super-net."""

from hnas_plugins.spaces.resnet12.options import ResNet12Options
from hnas_plugins.spaces.resnet12.space import ResNet12

__all__ = ["ResNet12", "ResNet12Options"]
