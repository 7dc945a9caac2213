"""Progressive shrinking: Eq. 4 of the paper, and the architectures that it draws."""

from __future__ import annotations

from typing import Any

import pytest

from hnas import Progress
from hnas.config.schema import MetaTrainConfig
from hnas.seeds import Seeds
from hnas.shrinking import largest_probability, progressive_shrinking


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
    sampler = progressive_shrinking(space, config, Seeds(seed))
    return [
        sampler(Progress(iteration=i, iterations_per_epoch=config.iterations, epochs=config.epochs)) for i in iterations
    ]


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
