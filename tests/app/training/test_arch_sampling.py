"""Progressive shrinking: Eq. 4 of the paper, and the architectures that it draws."""

from __future__ import annotations

from typing import Any

import pytest

from hnas import Progress
from hnas.seeds import Seeds
from hnas_app.config.schema import MetaTrainConfig
from hnas_app.training.sampling.architectures import largest_probability, sampler_of


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 1.0),  # p_i before e_s
        (29, 1.0),
        (30, 1.0),  # exp(0)
        (44, 0.4943035529),  # 0.2 + 0.8 exp(-5 · 14/70) = 0.2 + 0.8/e
        (58, 0.3082682266),  # 0.2 + 0.8/e²
        (65, 0.2656679989),  # halfway: 0.2 + 0.8 exp(-2.5)
        (100, 0.2053903576),  # the end of the schedule: 0.2 + 0.8 exp(-5)
    ],
)
def test_equation_4_with_the_papers_settings(epoch: int, expected: float) -> None:
    """p_i = 1, e_s = 30, a = 5 and e_m = 100 epochs, with p_e = 0.2: computed by hand from Eq. 4."""
    assert largest_probability(MetaTrainConfig(), epoch) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "epoch", "expected"),
    [
        ({"shrink_decay": 0.1}, 99, 0.2 + 0.8 * 0.906131),  # Table 9's a = 0.1: hardly a decay
        ({"shrink_decay": 50.0}, 50, 0.2),
        ({"shrink_end": 0.0, "shrink_decay": 50.0}, 99, 0.0),
        ({"shrink_end": 1.0}, 99, 1.0),
        ({"epochs": 10, "shrink_start": 0}, 5, 0.2 + 0.8 * 0.082085),
        ({"epochs": 10, "shrink_start": 10}, 9, 1.0),  # it never starts
        ({"epochs": 10, "shrink_start": 40}, 9, 1.0),
        ({"epochs": 10, "shrink_start": 9}, 9, 1.0),  # a schedule of one epoch
    ],
)
def test_other_settings(settings: dict[str, Any], epoch: int, expected: float) -> None:
    assert largest_probability(MetaTrainConfig(**settings), epoch) == pytest.approx(expected, abs=1e-6)


def drawn(space: Any, config: MetaTrainConfig, seed: int, iterations: range) -> list[Any]:
    sampler = sampler_of(space, config, Seeds(seed))
    return [arch for i in iterations for arch in sampler(progress(config, i))]


def progress(config: MetaTrainConfig, iteration: int) -> Progress:
    return Progress(iteration=iteration, iterations_per_epoch=config.iterations, epochs=config.epochs)


def test_only_the_largest_before_the_start(tiny_space: Any) -> None:
    config = MetaTrainConfig(epochs=4, iterations=50, shrink_start=2)
    assert set(drawn(tiny_space, config, 0, range(100))) == {tiny_space.largest()}
    assert len(set(drawn(tiny_space, config, 0, range(100, 200)))) > 10


def test_the_largest_is_drawn_as_often_as_the_equation_says(tiny_space: Any) -> None:
    """In an epoch with p = 0.6: 600 ± 5 standard deviations of 1000; the others are spread over the space."""
    config = MetaTrainConfig(epochs=100, iterations=1000, shrink_start=0, shrink_end=0.6, shrink_decay=50.0)
    assert largest_probability(config, 50) == pytest.approx(0.6)
    archs = drawn(tiny_space, config, 3, range(50_000, 51_000))
    largest = archs.count(tiny_space.largest())
    assert 520 < largest < 680
    assert len(set(archs)) > 150


def test_an_architecture_depends_on_seed_and_iteration_only(tiny_space: Any) -> None:
    """A resumed training must draw on where it stopped."""
    config = MetaTrainConfig(epochs=10, iterations=10, shrink_start=0)
    whole = drawn(tiny_space, config, 0, range(100))
    assert drawn(tiny_space, config, 0, range(60, 100)) == whole[60:]
    assert drawn(tiny_space, config, 1, range(100)) != whole


def test_several_architectures_for_each_meta_batch(tiny_space: Any) -> None:
    """Each drawn on its own; one that is drawn twice gets its tasks once, not two shares of them."""
    config = MetaTrainConfig(epochs=4, iterations=50, shrink_start=2, architectures=3)
    sampler = sampler_of(tiny_space, config, Seeds(0))
    assert sampler(progress(config, 0)) == [tiny_space.largest()]
    late = [sampler(progress(config, i)) for i in range(150, 200)]
    assert all(1 <= len(archs) == len(set(archs)) <= 3 for archs in late)
    assert sum(len(archs) == 3 for archs in late) > 25


def test_uniform_sampling_starts_at_once(tiny_space: Any) -> None:
    """Other than Eq. 4, which trains the largest alone at first; it alone is then hardly ever drawn."""
    config = MetaTrainConfig(epochs=2, iterations=100, sampling="uniform", architectures=2)
    archs = [a for i in range(100) for a in sampler_of(tiny_space, config, Seeds(0))(progress(config, i))]
    assert len(set(archs)) > 100
    assert archs.count(tiny_space.largest()) < 10


def test_the_sandwich_has_both_ends_and_random_ones_between(tiny_space: Any) -> None:
    config = MetaTrainConfig(sampling="sandwich", architectures=4)
    sampler = sampler_of(tiny_space, config, Seeds(0))
    batches = [sampler(progress(config, i)) for i in range(50)]
    assert all(archs[:2] == [tiny_space.largest(), tiny_space.smallest()] for archs in batches)
    assert len({arch for archs in batches for arch in archs[2:]}) > 50
    assert batches == [sampler(progress(config, i)) for i in range(50)]


@pytest.mark.parametrize("architectures", [1, 2])
def test_a_thin_sandwich_is_the_ends(tiny_space: Any, architectures: int) -> None:
    config = MetaTrainConfig(sampling="sandwich", architectures=architectures)
    ends = [tiny_space.largest(), tiny_space.smallest()]
    assert sampler_of(tiny_space, config, Seeds(0))(progress(config, 7)) == ends[:architectures]
