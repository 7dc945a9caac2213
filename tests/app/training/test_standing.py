"""The standing of a super-net's scores: an untrained one is doubted, and what cannot be told apart is said."""

from __future__ import annotations

import pytest
import torch
from tiny_tasks import tiny_setup

from hnas_app.executors.in_process import InProcess
from hnas_app.training import standing as module
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.standing import Standing, standing


def made(lead: float, gain: float | None = 0.5, half_width: float | None = 0.1) -> Standing:
    def over(mean: float) -> Accuracy:
        return Accuracy(mean=mean, half_width=half_width, tasks=100)

    return Standing(
        accuracy=0.3, class_mean=0.29, over_class_mean=over(lead), over_scaled=None if gain is None else over(gain)
    )


def test_scores_that_are_clearly_better_are_not_doubted() -> None:
    assert made(lead=0.2).doubts == ()
    assert made(lead=0.2, gain=None).doubts == ()


@pytest.mark.parametrize("lead", [-0.2, 0.0, 0.05, float("nan")])
def test_a_super_net_that_is_not_clearly_above_class_means_is_too_young(lead: float) -> None:
    (doubt,) = made(lead=lead).doubts
    assert doubt.startswith("the super-net is too young")
    assert "30.0 %" in doubt
    assert "29.0 %" in doubt
    assert "meta_train.epochs" in doubt


def test_a_choice_that_is_not_clearly_better_than_the_scaled_reference_is_doubted() -> None:
    (doubt,) = made(lead=0.2, gain=0.05).doubts
    assert "scaled" in doubt
    assert "0.050 ± 0.100" in doubt


def test_one_task_decides_nothing() -> None:
    assert len(made(lead=0.2, half_width=None).doubts) == 2


def test_all_are_scored_on_the_same_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = tiny_setup()
    state = setup.learner.init(setup.supernet, setup.seeds.torch("meta-train-init"))
    small = setup.space.architecture(depth=1, kernel1=1, scale1=0.5)
    large = setup.space.architecture(depth=2, kernel1=3, kernel2=1, scale1=0.5, scale2=1.0)
    losses = {small: [1.0, 2.0, 3.0], large: [1.5, 2.5, 4.5]}
    accuracies = [0.5, 0.75, 1.0]
    monkeypatch.setattr(module, "score_tasks", lambda _e, _s, arch, *_: (losses[arch], accuracies))
    monkeypatch.setattr("hnas_app.training.evaluate.nearest_class_mean", lambda _: torch.tensor([0.25, 0.5, 0.75]))
    with InProcess() as here:
        found = standing(setup, state, small, large, here, n_tasks=3, n_query=2)
        alone = standing(setup, state, small, small, here, n_tasks=3, n_query=2)
        losses[small][0] = float("inf")
        diverged = standing(setup, state, small, large, here, n_tasks=3, n_query=2)
    assert (found.accuracy, found.class_mean, found.over_class_mean.mean) == (0.75, 0.5, 0.25)
    assert found.over_scaled is not None
    assert found.over_scaled.mean == pytest.approx((0.5 + 0.5 + 1.5) / 3)
    assert alone.over_scaled is None
    assert diverged.over_scaled is None


def test_an_untrained_super_net_is_doubted() -> None:
    setup = tiny_setup()
    state = setup.learner.init(setup.supernet, setup.seeds.torch("meta-train-init"))
    arch = setup.space.architecture(depth=2, kernel1=3, kernel2=1, scale1=0.5, scale2=1.0)
    with InProcess() as here:
        found = standing(setup, state, arch, None, here, n_tasks=20, n_query=3)
    assert found.doubts[0].startswith("the super-net is too young")
