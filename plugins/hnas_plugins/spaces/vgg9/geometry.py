"""What the genes of a VGG9 network say: which convolution blocks it has. The space and its super-net both read it."""

from __future__ import annotations

from hnas import Architecture
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS, KERNELS, ConvBlock
from hnas_plugins.spaces.vgg9.options import VGG9Options

DEPTH = 4
SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.25)


class Geometry:
    """The networks of the space under some options, as their blocks."""

    def __init__(self, options: VGG9Options) -> None:
        self.options = options
        scales = SCALES if options.ge else (1.0,)
        self.widths = tuple(max(1, round(options.base_width * scale)) for scale in scales)

    def blocks(self, arch: Architecture) -> tuple[ConvBlock, ...]:
        """Return the convolution blocks that ``arch`` has, input side first."""
        genes = iter(arch.genes)
        depth = next(genes) + 1 if self.options.anl else DEPTH
        return tuple(
            ConvBlock(
                kernel=KERNELS[next(genes)],
                width=self.widths[next(genes) if self.options.ge else 0],
                activation=ACTIVATIONS[next(genes)],
            )
            for _ in range(depth)
        )
