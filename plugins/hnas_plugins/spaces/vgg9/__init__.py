"""The VGG9 space and its super-net."""

from hnas_plugins.spaces.vgg9.options import VGG9Options
from hnas_plugins.spaces.vgg9.space import VGG9

__all__ = ["VGG9", "VGG9Options"]
