"""The ResNet12 space and its super-net."""

from hnas_plugins.spaces.resnet12.space import ResNet12, ResNet12Options

__all__ = ["ResNet12", "ResNet12Options"]
