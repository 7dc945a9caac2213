"""The super-net of the ResNet12 space."""

from hnas_plugins.spaces.blocks.supernet import ConvSuperNet


class ResNet12SuperNet(ConvSuperNet):
    """The weights of each block b: convolutions ``b_1`` to ``b_3``, (O, C, 5, 5), and the 1×1 shortcut ``b_short``.

    The shortcut's normalisation belongs to the activation after the addition.
    """
