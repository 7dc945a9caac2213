"""Progressive shrinking in stages, in the order of Once-for-All: the full network, then kernels, depths and widths.

Cai, Gan, Wang, Zhang and Han, "Once-for-All: Train One Network and Specialize it for Efficient Deployment" (ICLR 2020).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

import numpy as np

from hnas.architecture import Architecture, Choice
from hnas.errors import ConfigError
from hnas.learner import Progress
from hnas.space import SearchSpace
from hnas_app.config.schema import MetaTrainConfig

ORDER = ("kernel", "depth", "width")
"""What shrinks, stage by stage; what has shrunk before goes on shrinking."""


def ofa(
    space: SearchSpace, config: MetaTrainConfig
) -> Callable[[np.random.Generator, Progress], Iterable[Architecture]]:
    """Draw the largest architecture alone; then others that differ from it in kernels, in depths, too, and in widths.

    The last stage draws from the whole space, as `SearchSpace.sample` does. Choices whose options are no numbers, such
    as activations, do not shrink a network: they are free once the first stage is over. Raises `ConfigError` if the
    space has nothing to shrink.
    """
    kinds = [_kind(space, choice) for choice in space.choices]
    if not any(kinds):
        raise ConfigError(
            f"meta_train.sampling is 'ofa', but {space.name} has no choice of kernel, depth or width: no options of it "
            "are numbers",
            hint="choose meta_train.sampling=uniform, or a schedule of the space's own",
        )
    largest = space.largest()

    def draw(generator: np.random.Generator, progress: Progress) -> Iterable[Architecture]:
        stage = bisect_right(config.stages, progress.iteration / progress.total)
        if stage == 0:
            return [largest]
        if stage == len(ORDER):
            return [space.sample(generator) for _ in range(config.architectures)]
        free = ("", *ORDER[:stage])
        return [_mixed(space, kinds, free, largest, generator) for _ in range(config.architectures)]

    return draw


def skipped(space: SearchSpace) -> list[str]:
    """Return what the space cannot shrink: during these stages the one before goes on."""
    kinds = {_kind(space, choice) for choice in space.choices}
    return [kind for kind in ORDER if kind not in kinds]


def _kind(space: SearchSpace, choice: Choice) -> str:
    """Return what a choice shrinks: a width if the space says so, the depth if others need it, a kernel if neither.

    It is "" if its options are no numbers.
    """
    if not all(isinstance(option, int | float) for option in choice.options):
        return ""
    if choice.name in space.width_choices():
        return "width"
    return "depth" if any(c.needs and c.needs[0] == choice.name for c in space.choices) else "kernel"


def _mixed(
    space: SearchSpace, kinds: list[str], free: tuple[str, ...], largest: Architecture, generator: np.random.Generator
) -> Architecture:
    """Draw the choices whose kind is ``free``; take the others from ``largest``."""
    genes = tuple(
        int(generator.integers(len(choice.options))) if kind in free else gene
        for choice, kind, gene in zip(space.choices, kinds, largest.genes, strict=True)
    )
    return space.canonical(Architecture(space.name, genes))
