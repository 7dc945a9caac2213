"""The super-net of the VGG9 space."""

from hnas_plugins.spaces.blocks.supernet import ConvSuperNet


class VGG9SuperNet(ConvSuperNet):
    """The weights of four layers, named 1 to 4: ``conv1.weight`` (O, C, 5, 5), ``norm1.weight``, …"""
