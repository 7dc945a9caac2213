"""The small problem that the conformance tests of a meta-learner stand on: its networks, tasks and steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from attrs import evolve

from hnas.architecture import Architecture
from hnas.episode import Episodes, EpisodeSpec
from hnas.layer import Layer
from hnas.learner import Gradient, MetaLearner, Progress, Scores, State
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.supernet import SuperNet
from hnas.task_source import Split, TaskSource
from hnas_app.testing.conformance import Conformance
from hnas_app.testing.expectation import agree, ending, expect
from hnas_app.training.setup.returned import gradient_and_scores
from hnas_app.training.setup.setup import Setup

EPOCHS = 3


class LearnerBed(Conformance[MetaLearner]):
    """What `LearnerConformance` computes with. This class has no tests."""

    spec: EpisodeSpec = EpisodeSpec(n_way=3, k_shot=1, n_query=5)
    batch: int = 4
    """Tasks of an iteration."""
    iterations: int = 20
    """Iterations of the training whose loss must fall; a learner that needs longer sets more."""
    falls_to: float = 0.95
    """The most that may be left of the loss on tasks of new classes after that, as a share of the loss before."""
    final_tasks: int = 20
    """Tasks of new classes on which it must have fallen."""
    tolerance: float = 1e-4
    """By what share two ways to compute the same in float32 may differ, and absolutely by as much."""

    @abstractmethod
    def space(self) -> SearchSpace: ...

    @abstractmethod
    def tasks(self) -> TaskSource: ...

    @property
    def _within(self) -> tuple[float, float]:
        return self.tolerance, self.tolerance

    def _network(self) -> tuple[SuperNet, Architecture]:
        n_way, k_shot, space, seeds = self.spec.n_way, self.spec.k_shot, self.space(), Seeds(0)
        setup = Setup(space=space, learner=self.make(), tasks=self.tasks(), n_way=n_way, k_shot=k_shot, seeds=seeds)
        return setup.supernet, space.largest()

    def _layers(self, arch: Architecture) -> Sequence[Layer]:
        return self.space().layers(arch, self.tasks().image_shape, self.spec.n_way)

    def _begin(self) -> tuple[MetaLearner, SuperNet, Architecture, State]:
        learner, (supernet, arch) = self.make(), self._network()
        return learner, supernet, arch, self._state(learner, supernet)

    def _state(self, learner: MetaLearner, supernet: SuperNet) -> State:
        return learner.init(supernet, Seeds(0).torch("state"))

    def _copy(self, state: State) -> State:
        return {k: v.clone() for k, v in state.items()}

    def _episodes(
        self, split: Split, n: int | None = None, iteration: int = 0, spec: EpisodeSpec | None = None
    ) -> Episodes:
        generators = [Seeds(0).numpy(split, iteration, i) for i in range(n or self.batch)]
        return self.tasks().sample(split, spec or self.spec, generators)

    def _progress(self, iteration: int, episodes: Episodes, first: int = 0) -> Progress:
        """Return the progress for the tasks of a meta-batch from the ``first`` on: each has a seed of its own."""
        per_epoch = max(1, self.iterations // EPOCHS)
        noise = tuple(iteration * self.batch + first + task for task in range(len(episodes)))
        return Progress(iteration=iteration, iterations_per_epoch=per_epoch, epochs=EPOCHS + 1, noise=noise)

    def _gradient(
        self, learner: MetaLearner, supernet: SuperNet, state: State, arch: Architecture
    ) -> tuple[Gradient, Scores]:
        episodes = self._episodes("train")
        return learner.gradient(supernet, state, episodes, arch, self._progress(0, episodes))

    def _score(
        self, learner: MetaLearner, supernet: SuperNet, state: State, arch: Architecture, n: int | None = None
    ) -> Scores:
        return learner.score(supernet, state, self._episodes("validation", n), arch)

    def _trained(
        self, learner: MetaLearner, supernet: SuperNet, arch: Architecture, state: State, count: int, first: int = 0
    ) -> State:
        """Train ``count`` iterations more, and return the state, which is changed."""
        for iteration in range(first, first + count):
            episodes = self._episodes("train", iteration=iteration)
            progress = self._progress(iteration, episodes)
            found, _ = learner.gradient(supernet, state, episodes, arch, progress)
            learner.update(state, found, len(episodes), progress)
        return state

    def _agree(self, together: Scores, parts: list[Scores]) -> bool:
        loss, accuracy = torch.cat([p.loss for p in parts]), torch.cat([p.accuracy for p in parts])
        return agree(together.loss, loss, *self._within) and agree(together.accuracy, accuracy, *self._within)

    def _expect_service(
        self, learner: MetaLearner, supernet: SuperNet, state: State, arch: Architecture, n_way: int, then: str
    ) -> None:
        __tracebackhide__ = True
        episodes = self._episodes("train", spec=evolve(self.spec, n_way=n_way))
        with ending(f"training, scores and logits with {n_way} classes", then) as seen:
            found = learner.gradient(supernet, state, episodes, arch, self._progress(0, episodes))
            gradient_and_scores(learner, found, len(episodes), state)
            self._expect_scores(learner.score(supernet, state, episodes, arch), len(episodes))
            adapted = learner.adapt(supernet, state, episodes, arch)
            shape = tuple(learner.logits(supernet, adapted, episodes.query_x, arch).shape)
            expected = (*episodes.query_y.shape, n_way)
            seen += [] if shape == expected else [f"logits {shape}, not {expected}"]

    def _expect_scores(self, scores: Scores, n: int) -> None:
        __tracebackhide__ = True
        shapes = tuple(scores.loss.shape), tuple(scores.accuracy.shape)
        expect(shapes == ((n,), (n,)), f"loss and accuracy of {n} tasks", shapes, "return one number for each task")
        expect(bool((scores.loss >= 0).all()), "losses that are not negative", scores.loss, "return the cross-entropy")
        inside = bool(((scores.accuracy >= 0) & (scores.accuracy <= 1)).all())
        expect(inside, "accuracies from 0 to 1", scores.accuracy, "divide the right answers by all")


def split(episodes: Episodes, size: int) -> list[Episodes]:
    """Return the tasks in parts of a size."""
    return [episodes[i : i + size] for i in range(0, len(episodes), size)]
