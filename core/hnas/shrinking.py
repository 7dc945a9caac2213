"""Progressive shrinking (Eq. 4): which architecture each meta-iteration trains."""

from __future__ import annotations

import math

from hnas.architecture import Architecture
from hnas.config.schema import MetaTrainConfig
from hnas.learner import Progress
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.training import Sampler


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
    """Return the sampler of Eq. 4: the largest architecture with probability p, else a uniformly random one."""
    largest = space.largest()

    def sampler(progress: Progress) -> Architecture:
        generator = seeds.numpy("shrinking", progress.iteration)
        if generator.random() < largest_probability(config, progress.epoch):
            return largest
        return space.sample(generator)

    return sampler
