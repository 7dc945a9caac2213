"""What the genes of a ResNet12 network say: which residual blocks it has. The space and its super-net both read it."""

from __future__ import annotations

from attrs import frozen

from hnas import Architecture
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS, KERNELS, ConvBlock
from hnas_plugins.spaces.resnet12.options import ResNet12Options

BLOCKS = 4
CONVOLUTIONS = 3
"""Of each block; the first has stride 2."""
SCALES = (0.25, 0.5, 1.0, 1.5, 1.75, 2.0)
WIDENING = (1, 2, 4, 8)
"""Channels of each block over those of the first, at scale 1: 32, 64, 128 and 256 in the paper."""


@frozen(kw_only=True)
class ResidualBlock:
    """Three convolutions, of which the last one's activation follows the addition of a 1×1 shortcut."""

    convolutions: tuple[ConvBlock, ...]

    @property
    def width(self) -> int:
        """Channels of the block's output, and of its shortcut."""
        return self.convolutions[-1].width


class Geometry:
    """The networks of the space under some options, as their blocks."""

    def __init__(self, options: ResNet12Options) -> None:
        self.options = options

    def base(self, block: int) -> int:
        """Return the channels of a block, counted from 0, at scale 1."""
        return self.options.base_width * WIDENING[block]

    def widths(self, block: int, convolution: int) -> tuple[int, ...]:
        """Return the widths that a convolution, both counted from 0, may have."""
        scales = SCALES if self.searches_width(convolution + 1) else (1.0,)
        return tuple(max(1, round(self.base(block) * scale)) for scale in scales)

    def blocks(self, arch: Architecture) -> tuple[ResidualBlock, ...]:
        """Return the blocks that ``arch`` has, input side first."""
        genes = iter(arch.genes)
        count = next(genes) + 1 if self.options.anl else BLOCKS
        return tuple(
            ResidualBlock(
                convolutions=tuple(
                    ConvBlock(
                        kernel=KERNELS[next(genes)],
                        width=self.widths(b, i)[next(genes) if self.searches_width(i + 1) else 0],
                        activation=ACTIVATIONS[next(genes)],
                    )
                    for i in range(CONVOLUTIONS)
                )
            )
            for b in range(count)
        )

    def searches_width(self, convolution: int) -> bool:
        """Tell whether the width of a convolution, counted from 1, is searched: at a block's edge with GE only."""
        return self.options.ge or convolution < CONVOLUTIONS
