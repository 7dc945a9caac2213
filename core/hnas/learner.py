"""The interface MetaLearner: how super-net weights are meta-trained, and adapted to a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from hnas.architecture import Architecture, Proposal
from hnas.episode import Episodes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hnas.layer import Layer
    from hnas.space import Schedule, SearchSpace
    from hnas.supernet import NormStats, Params, SuperNet

State = dict[str, "Tensor"]
"""Everything a meta-learner learns, as a flat dictionary, saved as safetensors.

``params/<name>`` are the super-net's parameters (perhaps with leading dimensions that the learner adds). Names that
start with ``outer/`` belong to `MetaLearner.update` alone and are not sent to workers.
"""

Gradient = dict[str, "Tensor"]
"""The meta-gradient by state name, a sum over tasks; statistics that workers collect travel in it too.

It may be float64 for a float32 state, see `hnas.toolkit.learning.exact_sum`; the core rounds it for `update`.
"""


@frozen(kw_only=True)
class Progress:
    """The progress of meta-training: ``iteration`` counts from 0 over all epochs.

    The phase multiplies the learner's outer learning rates by ``rate_factor``. ``noise`` holds a seed for each task of
    `MetaLearner.gradient`, for the randomness in training; a task always gets the same seed.
    """

    iteration: int
    iterations_per_epoch: int
    epochs: int
    rate_factor: float = 1.0
    noise: tuple[int, ...] = ()

    @property
    def epoch(self) -> int:
        return self.iteration // self.iterations_per_epoch

    @property
    def total(self) -> int:
        return self.iterations_per_epoch * self.epochs


@frozen(kw_only=True, eq=False)
class Scores:
    """Loss (nats, not negative) and accuracy (0–1) of an adapted network on each task."""

    loss: Tensor  # (T,)
    accuracy: Tensor  # (T,)


@frozen(kw_only=True)
class Inference:
    """What one prediction takes: ``passes`` through the network, and ``stored`` bytes kept of the task beside it.

    Work beside the network's, such as comparisons, counts by its multiply-accumulates as a share of a pass.
    """

    passes: float = 1.0
    stored: int = 0


class MetaLearner(ABC):
    """Meta-trains the weights of a super-net, one architecture at a time, and adapts them to tasks.

    A learner holds its options only; everything learnt lives in a `State` that the core saves, loads and hands to
    workers. Methods other than `update` must not change the state.
    """

    any_n_way: bool = False
    """Whether it classifies into as many classes as a task has, without the super-net's classifier.

    Training tasks may then have more classes than test tasks, and a run's weights serve tasks of any number. The
    classifier has an output for each class of the training split if `needs_classes`, and else two outputs.
    """

    needs_classes: bool = False
    """Whether `gradient` needs `Episodes.classes`: a source that gives none is refused. Other methods do without."""

    needs_features: bool = False
    """Whether it needs the features before a classifier that `SuperNet.head` names: a space without is refused."""

    support_scores: bool = True
    """Whether the loss on the images that a network was adapted to tells how good it is.

    If not, `score` is never called with ``on="support"``: the search compares networks by other images.
    """

    @abstractmethod
    def init(self, supernet: SuperNet, generator: torch.Generator) -> State:
        """Return a fresh state. Called once at the start of a training."""

    @abstractmethod
    def gradient(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Gradient, Scores]:
        """Return the meta-gradient **summed** over the tasks of ``episodes``, and each task's query scores.

        Called in workers with slices of a meta-batch; the core adds the slices' gradients. A name that is missing from
        the gradient counts as zero.
        """

    @abstractmethod
    def update(self, state: State, gradient: Gradient, n_tasks: int, progress: Progress) -> None:
        """Take one outer step in place with the mean gradient over ``n_tasks``. Called once an iteration."""

    @abstractmethod
    def adapt(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture) -> Params:
        """Return the sub-network's weights after the inner loop on each support set, with a leading task dimension.

        They are those that `SuperNet.share` names, and any of the learner's own, such as prototypes, for its `logits`.
        """

    def logits(
        self, supernet: SuperNet, adapted: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None
    ) -> Tensor:
        """Return the logits (T, N, n_way) of images ``x`` (T, N, C, H, W), by what `adapt` returned.

        Called wherever a network classifies, in exported models too. The default is the network's own classifier; an
        override uses operations that `torch.export` can trace. ``stats`` are as in `SuperNet.forward`.
        """
        return supernet.forward_tasks(adapted, x, arch, stats=stats)

    @abstractmethod
    def score(
        self,
        supernet: SuperNet,
        state: State,
        episodes: Episodes,
        arch: Architecture,
        *,
        on: Literal["query", "support"] = "query",
    ) -> Scores:
        """Adapt to each support set and return loss and accuracy on the query (or the support) images.

        The loss is the cross-entropy of `logits` of what `adapt` returns: the model that is exported is the one scored.
        Called by the evaluator for every candidate of a search, with varying numbers of tasks: the scores of a task
        must not depend on the others. A loss that overflows is returned as infinity.
        """

    def with_steps(self, steps: int) -> MetaLearner | None:
        """Return this learner with another number of adaption steps, for the same state; ``None`` if it has none.

        Called for a user's own pictures, which decide the number: it may exceed the one that the state was trained for.
        """
        return None

    def with_prices(self, prices: Params) -> MetaLearner | None:
        """Return this learner with an expected cost added to the loss that adapts architecture weights.

        That is the sum of their softmax times ``prices``, by `SuperNet.prices`. Called before `propose` if the strategy
        has a `SearchStrategy.penalty`; ``None``, as by default, if it offers none.
        """
        return None

    def inference(self, layers: Sequence[Layer], n_way: int, k_shot: int) -> Inference:
        """Return what a prediction takes with a network of these layers, the classifier's included.

        Called for the cost of every candidate, so it should take microseconds. By default a pass, and nothing is kept.
        """
        return Inference()

    def tasks_at_once(self, supernet: SuperNet, arch: Architecture, n_support: int) -> int:
        """Return the best number of tasks of ``n_support`` images for one `score`; with fewer, each takes longer.

        A search that scores candidates in part proceeds in steps of this size.
        """
        return 1

    def schedules(self, space: SearchSpace) -> Mapping[str, Schedule]:
        """Return the learner's own schedules, for ``meta_train.sampling="learner:NAME"``. Empty by default."""
        return {}

    @property
    def proposes(self) -> bool:
        """Whether `propose` is offered: by default if it is overridden. Asked before anything is computed."""
        return type(self).propose is not MetaLearner.propose

    def propose(
        self, space: SearchSpace, supernet: SuperNet, state: State, episodes: Episodes
    ) -> Sequence[Architecture | Proposal]:
        """Return an architecture of ``space`` for each task, by its support images; there are no query images.

        Called for `SearchProblem.proposals`, and for every test task if ``evaluate.architecture="per-task"``. A
        proposal must not depend on the other tasks. One that breaks a limit is moved to a near architecture.
        """
        raise NotImplementedError(f"{type(self).__name__} proposes no architectures")
