"""The suite catches a broken meta-learner, whatever is broken: one test fails, the one that is meant for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch.nn.functional import cross_entropy
from whole_classes import PROTOTYPICAL, WholeClasses

from hnas import Architecture, Episodes, EpisodeSpec, Proposal, Registry, Scores
from hnas.testing import LearnerConformance, TinySpace
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.mixture_learners.options import TNASOptions
from hnas_plugins.mixture_learners.t_nas import MixtureRates

EXAMPLE = f"{Path(__file__).resolve().parents[2] / 'examples' / 'custom_learner.py'}:Reptile"
REGISTRY = Registry()
REPTILE: Any = type(REGISTRY.create("learner", EXAMPLE))
QUICK = {
    "iterations": 4,
    "batch": 2,
    "spec": EpisodeSpec(n_way=3, k_shot=1, n_query=3),
    "falls_to": 1.0,
    "final_tasks": 6,
}
OPTIONS = REGISTRY.options_class("learner", EXAMPLE)(inner_steps=1)
ARCH = TinySpace(depth=2, widths=(4,), norm=True).largest()
OWN = torch.Generator().manual_seed(0)


class Learner(REPTILE):
    """Nothing is wrong with it."""

    def __init__(self) -> None:
        super().__init__(OPTIONS)


class DrawsByItself(Learner):
    """A little noise comes from a generator that goes on from one start to the next."""

    def init(self, supernet: Any, generator: Any) -> Any:
        drawn = super().init(supernet, generator)
        return {k: v + 1e-3 * torch.randn(v.shape, generator=OWN) for k, v in drawn.items()}


class RemembersItsSteps(Learner):
    """The number of steps decides about their length, and is lost when the process ends."""

    steps = 0

    def update(self, state: Any, gradient: Any, n_tasks: int, progress: Any) -> None:
        self.steps += 1
        super().update(state, {k: g * (1 + self.steps / 10) for k, g in gradient.items()}, n_tasks, progress)


class HidesARate(Learner):
    """The inner rate is where workers do not get it."""

    def init(self, supernet: Any, generator: Any) -> Any:
        return super().init(supernet, generator) | {"outer/rate": torch.ones(())}

    def gradient(self, supernet: Any, state: Any, *given: Any) -> Any:
        found, scores = super().gradient(supernet, state, *given)
        return {k: state["outer/rate"] * g for k, g in found.items()}, scores


class HoldsALambda(Learner):
    def __init__(self) -> None:
        super().__init__()
        self.schedule = lambda progress: 1.0


class TouchesTheState(Learner):
    def gradient(self, supernet: Any, state: Any, *given: Any) -> Any:
        found = super().gradient(supernet, state, *given)
        state["params/conv1.weight"] *= 1 - 1e-6
        return found


class Averages(Learner):
    def gradient(self, supernet: Any, state: Any, episodes: Any, *given: Any) -> Any:
        found, scores = super().gradient(supernet, state, episodes, *given)
        return {k: g / len(episodes) for k, g in found.items()}, scores


class Climbs(Learner):
    """The outer step goes up."""

    def update(self, state: Any, gradient: Any, n_tasks: int, progress: Any) -> None:
        super().update(state, {k: -g for k, g in gradient.items()}, n_tasks, progress)


class KnowsTheSpace(Learner):
    """It insists on every parameter that the space's whole super-net has."""

    def update(self, state: Any, gradient: Any, n_tasks: int, progress: Any) -> None:
        if "params/fc1.weight" in state:
            super().update(state, gradient, n_tasks, progress)


class SharesStatistics(Learner):
    """A task's score depends on the others': all are centred together."""

    def score(self, supernet: Any, state: Any, episodes: Episodes, arch: Any, *, on: Any = "query") -> Scores:
        scores = super().score(supernet, state, episodes, arch, on=on)
        mean = scores.loss[scores.loss.isfinite()].mean()
        return evolve(scores, loss=torch.where(scores.loss.isfinite(), 0.9 * scores.loss + 0.1 * mean, scores.loss))

    def gradient(self, supernet: Any, state: Any, episodes: Any, arch: Any, progress: Any) -> Any:
        found, _ = super().gradient(supernet, state, episodes, arch, progress)
        return found, Learner.score(self, supernet, state, episodes, arch)


class Overflows(Learner):
    def score(self, supernet: Any, state: Any, episodes: Episodes, arch: Any, *, on: Any = "query") -> Scores:
        scores = super().score(supernet, state, episodes, arch, on=on)
        return evolve(scores, loss=scores.loss.where(scores.loss.isfinite(), torch.nan))


class AdaptsToTheFirst(Learner):
    """Every task gets the first one's weights, where a batch is adapted; scores are right."""

    def adapt(self, supernet: Any, state: Any, episodes: Episodes, arch: Any) -> Any:
        adapted = super().adapt(supernet, state, episodes, arch)
        return {k: v[:1].expand_as(v) for k, v in adapted.items()}

    def score(self, supernet: Any, state: Any, episodes: Episodes, arch: Any, *, on: Any = "query") -> Scores:
        return Learner().score(supernet, state, episodes, arch, on=on)


class ComparesCentroids(Learner):
    """Images are classified by the nearest class mean of features, but what is exported has an untrained classifier."""

    needs_features = True

    def score(self, supernet: Any, state: Any, episodes: Episodes, arch: Any, *, on: Any = "query") -> Scores:
        x, y = (episodes.query_x, episodes.query_y) if on == "query" else (episodes.support_x, episodes.support_y)
        with torch.no_grad():
            adapted = self.adapt(supernet, state, episodes, arch)
            support, images = (supernet.features(adapted, i, arch).flatten(2) for i in (episodes.support_x, x))
            order = episodes.support_y.argsort(dim=1, stable=True)
            shots = support.gather(1, order[..., None].expand_as(support)).unflatten(1, (int(y.max()) + 1, -1))
            logits = torch.cosine_similarity(images[:, :, None], shots.mean(2)[:, None], dim=-1)
        losses = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
        return Scores(
            loss=losses.where(losses.isfinite(), torch.inf), accuracy=(logits.argmax(-1) == y).float().mean(1)
        )


class TrainsWhatThereIsNot(Learner):
    """Its schedule names an architecture of a space that it was written for."""

    def schedules(self, space: Any) -> Any:
        return {"fixed": lambda *given: [Architecture("vgg9", (0,))]}


class Proposes(Learner):
    """An architecture for each task, by its first image. Nothing is wrong with it."""

    def propose(self, space: Any, supernet: Any, state: Any, episodes: Episodes) -> list[Any]:
        keys = episodes.support_x.flatten(1).sum(1).mul(1e4).abs().long().tolist()
        return [space.sample(np.random.default_rng(key)) for key in keys]


class ProposesOneForAll(Proposes):
    def propose(self, space: Any, supernet: Any, state: Any, episodes: Episodes) -> list[Any]:
        return super().propose(space, supernet, state, episodes)[:1]


class ProposesForTheFirst(Proposes):
    def propose(self, space: Any, supernet: Any, state: Any, episodes: Episodes) -> list[Any]:
        return super().propose(space, supernet, state, episodes)[:1] * len(episodes)


class ProposesByTheQuery(Proposes):
    """The images that the task is tested on decide about its network."""

    def propose(self, space: Any, supernet: Any, state: Any, episodes: Episodes) -> list[Any]:
        return super().propose(space, supernet, state, evolve(episodes, support_x=episodes.query_x))


class ProposesAnotherSpace(Proposes):
    def propose(self, space: Any, supernet: Any, state: Any, episodes: Episodes) -> list[Any]:
        return [evolve(arch, space="another") for arch in super().propose(space, supernet, state, episodes)]


class WeighsOneChoice(Proposes):
    """A weight for each option of the first choice, and nothing about the others."""

    def propose(self, space: Any, supernet: Any, state: Any, episodes: Episodes) -> list[Any]:
        weights = (tuple(0.0 for _ in space.choices[0].options),)
        return [Proposal(arch=a, weights=weights) for a in super().propose(space, supernet, state, episodes)]


class CountsToThree(PROTOTYPICAL):
    """The means of three classes, whatever a task has."""

    def __init__(self) -> None:
        super().__init__(PROTOTYPICAL.Options())

    def _adapted(self, supernet: Any, params: Any, episodes: Episodes, arch: Any) -> Any:
        found = super()._adapted(supernet, params, episodes, arch)
        return found | {"prototypes": found["prototypes"][:, :3]}


class HidesItsNeedOfFeatures(PROTOTYPICAL):
    needs_features = False

    def __init__(self) -> None:
        super().__init__(PROTOTYPICAL.Options())


class KeepsForNothing(PROTOTYPICAL):
    """The means are stored on the device, and no limit on its memory sees them."""

    def __init__(self) -> None:
        super().__init__(PROTOTYPICAL.Options())

    def inference(self, *given: Any) -> Any:
        return Learner.inference(self, *given)


class LearnsABiasForEachOutput(Learner):
    """It is as long as the adapted bias, not as the one that is learnt."""

    def init(self, supernet: Any, generator: Any) -> Any:
        params = supernet.init(generator)
        biases = {n: v for n, v in supernet.share(params, ARCH).items() if n.startswith("fc") and v.dim() == 1}
        return super().init(supernet, OWN) | {f"params/{n}": v for n, v in params.items()} | biases


class ChangesItself(Learner):
    """The number of steps that another task wanted is left to the next one."""

    def with_steps(self, steps: int) -> Any:
        self._options = evolve(self._options, inner_steps=steps)
        return self


class WeighsByClass(Learner):
    """Tasks with the first class count more, but a source may not know which class that is."""

    def gradient(self, supernet: Any, state: Any, episodes: Any, *given: Any) -> Any:
        found, scores = super().gradient(supernet, state, episodes, *given)
        known = [] if episodes.classes is None else episodes.classes
        return {k: g + 1e-4 * sum(bool((ids == 0).any()) for ids in known) for k, g in found.items()}, scores


class ForgetsFixedStatistics(Learner):
    """A picture is classified by the others of its batch. In use there are none."""

    def logits(self, supernet: Any, adapted: Any, x: Any, arch: Any, *, stats: Any = None) -> Any:
        return super().logits(supernet, adapted, x, arch, stats=None if stats and stats.mode == "apply" else stats)


class LooksAtValues(Learner):
    """A value decides about the way of `logits`: the same numbers here, but nothing that can be exported."""

    def logits(self, supernet: Any, adapted: Any, x: Any, arch: Any, *, stats: Any = None) -> Any:
        logits = super().logits(supernet, adapted, x, arch, stats=stats)
        return logits if bool(logits.isfinite().all()) else logits.nan_to_num()


BROKEN = {
    CountsToThree: "test_serves_any_number_of_classes_if_it_says_so",
    LearnsABiasForEachOutput: "test_serves_any_number_of_classes_if_the_super_net_does",
    HidesItsNeedOfFeatures: "test_goes_by_features_only_if_it_says_so",
    KeepsForNothing: "test_says_what_a_prediction_takes",
    WeighsByClass: "test_goes_by_the_ids_of_classes_only_if_it_says_so",
    ChangesItself: "test_adapts_by_other_numbers_of_steps_if_it_offers_them",
    ComparesCentroids: "test_scores_are_those_of_the_exported_network",
    LooksAtValues: "test_logits_can_be_exported",
    ForgetsFixedStatistics: "test_logits_can_be_exported",
    DrawsByItself: "test_state_is_drawn_from_the_generator",
    RemembersItsSteps: "test_state_survives_its_file",
    HidesARate: "test_workers_do_without_the_outer_state",
    HoldsALambda: "test_can_be_sent_to_workers",
    TouchesTheState: "test_gradient_is_finite_and_changes_nothing",
    Averages: "test_gradient_is_a_sum_over_tasks",
    Climbs: "test_loss_falls",
    TrainsWhatThereIsNot: "test_schedules_draw_members",
    KnowsTheSpace: "test_an_architecture_can_be_trained_alone",
    SharesStatistics: "test_scores_repeat_and_do_not_depend_on_other_tasks",
    Overflows: "test_overflowing_losses_are_infinite",
    AdaptsToTheFirst: "test_adapted_weights_are_those_of_each_task",
    ProposesOneForAll: "test_proposals_are_one_for_each_task",
    ProposesForTheFirst: "test_proposals_are_one_for_each_task",
    ProposesByTheQuery: "test_proposals_are_one_for_each_task",
    ProposesAnotherSpace: "test_proposals_are_one_for_each_task",
    WeighsOneChoice: "test_proposals_are_one_for_each_task",
}


def space(self: Any) -> TinySpace:
    return TinySpace(depth=2, widths=(4,), norm=True)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_learner_fails_the_test_for_it(broken, failures, expect_only):
    failed = failures(LearnerConformance, broken, space=space, **QUICK)
    if broken is AdaptsToTheFirst:  # then what is exported is wrong as well
        failed.pop(BROKEN[ComparesCentroids])
    expect_only(failed, BROKEN[broken])


class IgnoresPrices(MAML):
    """T-NAS that says it prefers cheap options, and does not."""

    def with_prices(self, prices: Any) -> Any:
        return self


def test_a_learner_that_ignores_prices_fails_the_test_for_it(failures, expect_only):
    def relaxed(self: Any) -> TinySpace:
        return TinySpace(depth=2, widths=(4, 8), norm=True, relaxed=True)

    options = TNASOptions(inner_steps=1, meta_lr=0.01)
    failed = failures(LearnerConformance, lambda: IgnoresPrices(options, MixtureRates(options)), space=relaxed, **QUICK)
    expect_only(failed, "test_prefers_cheap_options_if_it_offers_that")


@pytest.mark.parametrize("good", [Learner, Proposes])
def test_nothing_is_said_against_a_good_one(good, failures):
    assert failures(LearnerConformance, good, space=space, **QUICK) == {}


def test_nothing_is_said_against_one_that_classifies_all_training_classes(failures):
    def make() -> WholeClasses:
        return WholeClasses(PROTOTYPICAL.Options(meta_lr=0.1))

    assert failures(LearnerConformance, make, space=space, **QUICK) == {}


def test_every_test_has_a_broken_learner():
    tests = {name for name in dir(LearnerConformance) if name.startswith("test_") and "options" not in name}
    assert tests - set(BROKEN.values()) == set()
