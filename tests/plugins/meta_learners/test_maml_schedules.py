"""The schedules of MAML++, with the numbers of the paper and of the MAML++ authors' code."""

import math

import attrs
import pytest

from hnas import Progress
from hnas_plugins.meta_learners.options import MAMLOptions, MAMLPlusPlusOptions
from hnas_plugins.meta_learners.schedules import is_second_order, loss_weights, outer_rate


def at(iteration, epochs=100, iterations=500):
    return Progress(iteration=iteration, iterations_per_epoch=iterations, epochs=epochs)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, [0.2] * 5),  # 1/N each
        (1, [0.18, 0.18, 0.18, 0.18, 0.28]),  # each non-final one lost (1/N)/10
        (5, [0.1, 0.1, 0.1, 0.1, 0.6]),
        (9, [0.02, 0.02, 0.02, 0.02, 0.92]),
        (10, [0, 0, 0, 0, 1]),
        (99, [0, 0, 0, 0, 1]),
    ],
)
def test_loss_weights_of_the_omniglot_setting(epoch, expected):
    """5 steps, 10 epochs; paper.md, 'MSL weights'."""
    assert loss_weights(MAMLPlusPlusOptions(), epoch) == pytest.approx(expected)


@pytest.mark.parametrize(("steps", "epochs"), [(5, 10), (5, 15), (5, 100), (3, 7), (1, 4), (2, 1)])
def test_loss_weights_are_those_of_the_authors_code(steps, epochs):
    """MAML++'s ``get_per_step_loss_importance_vector``, rewritten with its two bounds. The floor is 0.03/N."""
    options = MAMLPlusPlusOptions(inner_steps=steps, msl_epochs=epochs)
    for epoch in range(epochs):
        decay = epoch / steps / epochs
        early = max(1 / steps - decay, 0.03 / steps)
        final = min(1 / steps + decay * (steps - 1), 1 - (steps - 1) * 0.03 / steps)
        assert loss_weights(options, epoch) == pytest.approx([early] * (steps - 1) + [final])
        assert sum(loss_weights(options, epoch)) == pytest.approx(1)
    if epochs == 100:
        assert loss_weights(options, 99)[0] == pytest.approx(0.006)  # the floor; without it 0.002


def test_without_msl_only_the_last_step_counts():
    assert loss_weights(MAMLOptions(), 0) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("options", "epochs_of_first_order"),
    [
        ({}, range(50)),
        ({"first_order_epochs": 0}, ()),
        ({"derivative_order_annealing": False}, ()),
        ({"second_order": False}, range(100)),
        ({"second_order": False, "derivative_order_annealing": False}, range(100)),
    ],
)
def test_derivative_order(options, epochs_of_first_order):
    settings = MAMLPlusPlusOptions(**options)
    assert [e for e in range(100) if not is_second_order(settings, e)] == list(epochs_of_first_order)


def test_outer_rate_falls_along_half_a_cosine():
    """From 1e-3 to 1e-5 over 50,000 iterations (paper.md, Omniglot)."""
    options = MAMLPlusPlusOptions()
    assert outer_rate(options, at(0)) == 1e-3
    assert outer_rate(options, at(25_000)) == pytest.approx((1e-3 + 1e-5) / 2)
    assert outer_rate(options, at(12_500)) == pytest.approx(1e-5 + 0.99e-3 * (1 + math.sqrt(0.5)) / 2)
    assert outer_rate(options, at(50_000)) == pytest.approx(1e-5)
    rates = [outer_rate(options, at(i)) for i in range(0, 50_000, 500)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("options", [MAMLPlusPlusOptions(), MAMLOptions()])
def test_a_phase_multiplies_the_outer_rate(options):
    """Re-training takes higher rates than a super-net bears."""
    for i in (0, 12_500, 50_000):
        assert outer_rate(options, attrs.evolve(at(i), rate_factor=3.0)) == pytest.approx(
            3 * outer_rate(options, at(i))
        )


def test_outer_rate_without_annealing():
    assert {outer_rate(MAMLOptions(meta_lr=0.02), at(i)) for i in (0, 30_000, 49_999)} == {0.02}
