"""What every phase and every worker needs to train and score networks: the chosen plugins, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hnas.architecture import Architecture
from hnas.cost import Cost, Metric
from hnas.episode import Episodes
from hnas.layer import Layer, Shape
from hnas.learner import Inference, MetaLearner, State
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.task_source import SPLITS, Split, TaskSource
from hnas_app.executors.interface import Executor
from hnas_app.training.setup.classes import Classes, kept_to
from hnas_app.training.setup.episode_streams import EpisodeStreams
from hnas_app.training.setup.inference import of_prediction
from hnas_app.training.setup.returned import image_shape, inference, initial, n_classes, super_net
from hnas_app.training.setup.subnet import subnet
from hnas_app.training.setup.work import Work

if TYPE_CHECKING:
    from hnas.supernet import SuperNet

UNUSED_OUTPUTS = 2
"""Outputs of a classifier that no learner uses: as many as the smallest task has classes."""


@frozen(kw_only=True, eq=False, slots=False)
class Setup:
    """A search space, a meta-learner and few-shot tasks, put together. Pickled once into each worker.

    It only holds the choices. The super-net, the tasks (`EpisodeStreams`) and the estimate of work (`Work`) are made at
    first use, in each process anew.
    """

    space: SearchSpace
    learner: MetaLearner
    tasks: TaskSource
    n_way: int
    k_shot: int
    train_n_way: int = 0
    """The classes in a training task; 0: as many as in others."""
    train_k_shot: int = 0
    """The labelled images of each class in a training task; 0: as many as in others."""
    seeds: Seeds
    accelerator: str = "cpu"
    """The device that tasks are returned on, and where their networks are computed."""
    alone: Architecture | None = None
    """Train and score this architecture's own network, instead of sub-networks of the super-net."""
    given: Episodes | None = None
    """Tasks to score on instead of drawn ones, by index: those made of a user's own task."""
    recorded: Classes | None = None
    """The classes that the run was trained with: tasks of others are refused, in every process."""
    prefetch: bool = False
    """Draw tasks ahead in a thread of this process: for GPUs, see `Prefetcher`."""

    @cached_property
    def image_shape(self) -> Shape:
        return image_shape(self.tasks)

    @cached_property
    def source(self) -> TaskSource:
        """The source of the recorded classes. Raises `DataError` as `kept_to` does."""
        return kept_to(self.tasks, self.recorded)

    @cached_property
    def supernet(self) -> SuperNet:
        return self._network(self._outputs)

    @cached_property
    def training_supernet(self) -> SuperNet:
        """The super-net for training tasks, which may have another number of classes; its weights are the same."""
        n_way = self.size("train")[0]
        return self.supernet if self.learner.any_n_way or n_way == self.n_way else self._network(n_way)

    @property
    def any_n_way(self) -> bool:
        """Whether the weights serve tasks of any number of classes: by the learner, or by the super-net."""
        return self.learner.any_n_way or self.supernet.any_n_way

    def _network(self, n_way: int) -> SuperNet:
        whole = super_net(self.space, self.image_shape, n_way)
        return whole if self.alone is None else subnet(whole, self.alone)

    @cached_property
    def episodes(self) -> EpisodeStreams:
        return EpisodeStreams(
            tasks=self.tasks if self.given is not None else self.source,
            sizes={split: self.size(split) for split in SPLITS},
            seeds=self.seeds,
            accelerator=self.accelerator,
            given=self.given,
            prefetch=self.prefetch,
        )

    @cached_property
    def work(self) -> Work:
        return Work(space=self.space, image_shape=self.image_shape, n_way=self.n_way)

    def size(self, split: Split) -> tuple[int, int]:
        """Return the number of classes in a task of a split, and of labelled images of each."""
        if split != "train":
            return self.n_way, self.k_shot
        return self.train_n_way or self.n_way, self.train_k_shot or self.k_shot

    @property
    def _outputs(self) -> int:
        """The number of outputs of the super-net's classifier, see `MetaLearner.any_n_way`."""
        if not self.learner.any_n_way:
            return self.n_way
        return n_classes(self.source, "train") if self.learner.needs_classes else UNUSED_OUTPUTS

    def fresh_state(self, purpose: str) -> State:
        """Return the learner's state before training; equal for equal purposes."""
        return initial(self.learner, self.supernet, self.seeds.torch(purpose))

    def misfit(self, state: State) -> str:
        """Return the first tensor of the learner's fresh state that ``state`` has otherwise, or not, in words."""
        saved, expected = (
            {k: f"{tuple(v.shape)} {v.dtype}" for k, v in tensors.items() if not k.startswith("outer/")}
            for tensors in (state, self.fresh_state("fit"))
        )
        differing = (k for k in dict.fromkeys([*expected, *saved]) if saved.get(k) != expected.get(k))
        told = ((f"{k} of {saved[k]}" if k in saved else f"no {k}", expected.get(k, "none")) for k in differing)
        return next((f"it has {found}, expected {wanted}" for found, wanted in told), "")

    def inference(self, arch: Architecture) -> Inference:
        """Return what a prediction of an architecture takes, for tasks like those of the test."""
        layers = self.space.layers(arch, self.image_shape, self.n_way)
        return inference(self.learner, layers, self.n_way, self.k_shot)

    def cost(
        self,
        arch: Architecture,
        one_pass: Callable[[Iterable[Layer]], Cost],
        metrics: Sequence[Metric],
    ) -> Cost:
        """Return the cost of a prediction, from that of the layers in ``one_pass``, such as by `CostTable.cost`."""
        layers = self.space.layers(arch, self.image_shape, self.n_way)
        return of_prediction(one_pass(layers), metrics, inference(self.learner, layers, self.n_way, self.k_shot))

    def send(self, executor: Executor) -> None:
        """Put this set-up into the workers under the name ``setup``.

        The super-net is made here first: its code is compiled once, not by every worker at the same time, and its notes
        to the user come from one process.
        """
        _ = self.supernet
        executor.put(setup=self)

    def prepare(self) -> bool:
        """Draw a few tasks ahead; return whether there may be more. A worker calls it while it waits for its driver."""
        return self.episodes.prepare()

    def __getstate__(self) -> dict[str, object]:
        made = ("source", "supernet", "training_supernet", "episodes", "work")
        return {k: v for k, v in self.__dict__.items() if k not in made}


def to_workers(state: State) -> dict[str, Any]:
    """Return the state as arrays, which cross a pipe faster than tensors, without the parts for the driver only."""
    return {k: v.numpy() for k, v in state.items() if not k.startswith("outer/")}


def from_driver(arrays: Mapping[str, Any], setup: Setup) -> State:
    """Return the state that `to_workers` sent, as tensors on the set-up's accelerator."""
    import torch

    return {k: torch.from_numpy(v).to(setup.accelerator) for k, v in arrays.items()}
