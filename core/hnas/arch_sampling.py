"""Which architectures each meta-iteration trains: by Eq. 4 of the paper, uniformly, the costlier ones, a sandwich."""

from __future__ import annotations

import math
from collections.abc import Callable

from hnas.architecture import Architecture
from hnas.config.schema import MetaTrainConfig
from hnas.learner import Progress
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.training import Sampler


def sampler_of(
    space: SearchSpace, config: MetaTrainConfig, seeds: Seeds, macs: Callable[[Architecture], int]
) -> Sampler:
    """Return the sampler that the configuration names; it draws ``config.architectures`` for each iteration."""
    if config.sampling == "costlier":
        return costlier(space, config, seeds, macs)
    return {"shrinking": progressive_shrinking, "uniform": uniform, "sandwich": sandwich}[config.sampling](
        space, config, seeds
    )


def largest_probability(config: MetaTrainConfig, epoch: int) -> float:
    """Return p, the probability of training the largest architecture in ``epoch``.

    ``p = p_e + (p_i - p_e) * exp(-a * (e - e_s) / (e_m - e_s))`` with p_i = 1, and p = 1 before e_s. The paper does not
    give e_m and p_e; e_m is the number of epochs, p_e an option (0.2).
    """
    if epoch < config.shrink_start:
        return 1.0
    span = max(config.epochs - config.shrink_start, 1)
    decay = math.exp(-config.shrink_decay * (epoch - config.shrink_start) / span)
    return config.shrink_end + (1.0 - config.shrink_end) * decay


def progressive_shrinking(space: SearchSpace, config: MetaTrainConfig, seeds: Seeds) -> Sampler:
    """Return the sampler of Eq. 4: each architecture is the largest with probability p, else a uniformly random one.

    The paper draws one architecture for an iteration.
    """
    largest = space.largest()

    def sampler(progress: Progress) -> list[Architecture]:
        generator = seeds.numpy("shrinking", progress.iteration)
        p = largest_probability(config, progress.epoch)
        drawn = (largest if generator.random() < p else space.sample(generator) for _ in range(config.architectures))
        return list(dict.fromkeys(drawn))

    return sampler


def uniform(space: SearchSpace, config: MetaTrainConfig, seeds: Seeds) -> Sampler:
    """Return a sampler that draws every architecture as `SearchSpace.sample` does, from the first iteration on."""

    def sampler(progress: Progress) -> list[Architecture]:
        generator = seeds.numpy("uniform", progress.iteration)
        return list(dict.fromkeys(space.sample(generator) for _ in range(config.architectures)))

    return sampler


def costlier(space: SearchSpace, config: MetaTrainConfig, seeds: Seeds, macs: Callable[[Architecture], int]) -> Sampler:
    """Return a sampler that draws the costlier of two uniformly random architectures, by their multiply-accumulates.

    So an architecture's chance is in proportion to the rank of its cost. The best architectures are costly ones, and
    lose most by sharing weights (docs/supernet.md).
    """

    def sampler(progress: Progress) -> list[Architecture]:
        generator = seeds.numpy("costlier", progress.iteration)
        pairs = [(space.sample(generator), space.sample(generator)) for _ in range(config.architectures)]
        return list(dict.fromkeys(max(pair, key=macs) for pair in pairs))

    return sampler


def sandwich(space: SearchSpace, config: MetaTrainConfig, seeds: Seeds) -> Sampler:
    """Return the sandwich rule: the largest architecture, the smallest, and uniformly random ones between.

    Yu and Huang, "Universally Slimmable Networks", ICCV 2019. The smallest has each choice's smallest number.
    """
    ends = list(dict.fromkeys([space.largest(), space.smallest()]))

    def sampler(progress: Progress) -> list[Architecture]:
        generator = seeds.numpy("sandwich", progress.iteration)
        between = [space.sample(generator) for _ in range(config.architectures - len(ends))]
        return list(dict.fromkeys([*ends, *between]))[: config.architectures]

    return sampler
