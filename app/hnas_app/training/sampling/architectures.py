"""The architectures that each meta-iteration trains: by Eq. 4, in stages, uniformly, by attention, or a sandwich."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from hnas.architecture import Architecture
from hnas.errors import PluginError
from hnas.learner import MetaLearner, Progress
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas_app.config.schema import MetaTrainConfig
from hnas_app.training.outer_loop import Sampler
from hnas_app.training.sampling.attention import Attention
from hnas_app.training.sampling.schedules import own_schedule
from hnas_app.training.sampling.stages import ofa

Draw = Callable[[np.random.Generator, Progress], Iterable[Architecture]]
TRIED = 50
"""Iterations, spread over a training, for which a plugin's schedule is tried before it begins."""


def sampler_of(
    space: SearchSpace,
    config: MetaTrainConfig,
    seeds: Seeds,
    attention: Attention | None = None,
    learner: MetaLearner | None = None,
) -> Sampler:
    """Return the sampler that the configuration names; it draws ``config.architectures`` for each iteration.

    An architecture that is drawn twice is returned once. `attentive` sampling draws by ``attention``, a schedule of the
    space or the ``learner`` as many as it likes. Raises `ConfigError` if there is no such schedule.
    """
    if config.sampling == "attentive":
        assert attention is not None
        draw = attentive(attention, config)
    elif ":" in config.sampling:
        draw = own_schedule(space, learner, config)
    else:
        rules = {"shrinking": progressive_shrinking, "uniform": uniform, "sandwich": sandwich, "ofa": ofa}
        draw = rules[config.sampling](space, config)

    def sampler(progress: Progress) -> list[Architecture]:
        return list(dict.fromkeys(draw(seeds.numpy(config.sampling, progress.iteration), progress)))

    return sampler


def check_sampling(space: SearchSpace, learner: MetaLearner | None, config: MetaTrainConfig, seeds: Seeds) -> None:
    """Try a schedule of the space's or the learner's own, before anything is trained.

    Raises `ConfigError` if there is no such schedule, or if ``ofa`` has nothing to shrink, and `PluginError` if one
    draws what cannot be trained, or something else when it is asked again: a training could not be resumed.
    """
    if config.sampling == "ofa":
        ofa(space, config)
    if ":" not in config.sampling:
        return
    sampler = sampler_of(space, config, seeds, learner=learner)
    total = config.epochs * config.iterations
    iterations = sorted({total * i // TRIED for i in range(TRIED)} | {total - 1})
    at = {i: Progress(iteration=i, iterations_per_epoch=config.iterations, epochs=config.epochs) for i in iterations}
    drawn = {i: sampler(at[i]) for i in iterations}
    if differing := [i for i in reversed(iterations) if sampler(at[i]) != drawn[i]]:
        raise PluginError(
            f"meta_train.sampling={config.sampling!r} drew others for iteration {differing[-1]} the second time; "
            "expected the same architectures",
            hint="a schedule draws from the generator that it is given, and keeps no memory",
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


def progressive_shrinking(space: SearchSpace, config: MetaTrainConfig) -> Draw:
    """Draw by Eq. 4: each architecture is the largest with probability p, else a uniformly random one.

    The paper draws one architecture for an iteration.
    """
    largest = space.largest()

    def draw(generator: np.random.Generator, progress: Progress) -> Iterable[Architecture]:
        p = largest_probability(config, progress.epoch)
        for _ in range(config.architectures):
            yield largest if generator.random() < p else space.sample(generator)

    return draw


def uniform(space: SearchSpace, config: MetaTrainConfig) -> Draw:
    """Draw every architecture as `SearchSpace.sample` does, from the first iteration on."""
    return lambda generator, _: (space.sample(generator) for _ in range(config.architectures))


def attentive(attention: Attention, config: MetaTrainConfig) -> Draw:
    """Draw an option more often, the better networks with it have been so far in this training."""
    return lambda generator, _: (attention.draw(generator) for _ in range(config.architectures))


def sandwich(space: SearchSpace, config: MetaTrainConfig) -> Draw:
    """Draw by the sandwich rule: the largest architecture, the smallest, and uniformly random ones between.

    Yu and Huang, "Universally Slimmable Networks", ICCV 2019. The smallest has each choice's smallest number.
    """
    ends = list(dict.fromkeys([space.largest(), space.smallest()]))

    def draw(generator: np.random.Generator, _: Progress) -> Iterable[Architecture]:
        between = [space.sample(generator) for _ in range(config.architectures - len(ends))]
        return [*ends, *between][: config.architectures]

    return draw
