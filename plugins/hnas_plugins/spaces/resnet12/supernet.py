"""The super-net of the ResNet12 space."""

from hnas_plugins.spaces.blocks.supernet import ConvSuperNet


class ResNet12SuperNet(ConvSuperNet):
    """The weights of block b's convolutions, named ``b_1`` to ``b_3``, (O, C, 5, 5), and shortcut, ``b_short``, 1×1.

    The shortcut's normalisation goes with the activation that follows the addition.
    """
