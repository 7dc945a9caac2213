"""The VGG9 space and its super-net."""

from hnas_plugins.spaces.vgg9.space import VGG9, VGG9Options

__all__ = ["VGG9", "VGG9Options"]
