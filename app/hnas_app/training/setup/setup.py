"""What every phase and every worker needs to train and score networks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import define, field

from hnas.architecture import Architecture
from hnas.episode import Episodes, EpisodeSpec
from hnas.layer import Shape
from hnas.learner import MetaLearner
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.task_source import Split, TaskSource
from hnas_app.executors import Executor
from hnas_app.training.setup.prefetch import Prefetcher, Stream
from hnas_app.training.setup.subnet import subnet

if TYPE_CHECKING:
    from hnas.supernet import SuperNet

REMEMBERED_BYTES = 64 << 20

VALUE, NETWORK = 10, 200_000
"""What a layer's value, and a network as such, take besides multiplying. Fitted to the seconds of 60 random networks of
VGG9, 16 wide, in training with first-order gradients on x86: errors of 17 %, by multiplying alone 72 %."""


@define(kw_only=True, eq=False, slots=False)
class Setup:
    """A search space, a meta-learner and few-shot tasks, put together. Pickled once into each worker."""

    space: SearchSpace
    learner: MetaLearner
    tasks: TaskSource
    n_way: int
    k_shot: int
    seeds: Seeds
    accelerator: str = "cpu"
    """The device that `episodes` are returned on, and where their networks are computed."""
    alone: Architecture | None = None
    """Train and score this architecture's own network, instead of sub-networks of the super-net."""
    given: Episodes | None = None
    """Tasks to score on instead of drawn ones, by index: those made of a user's own task."""
    prefetch: bool = False
    """Draw tasks ahead in a thread of this process: for GPUs, see `Prefetcher`."""
    _last: tuple[object, Episodes] | None = field(default=None, init=False)
    _drawn: OrderedDict[object, Episodes] = field(factory=OrderedDict, init=False)

    @cached_property
    def image_shape(self) -> Shape:
        return self.tasks.image_shape

    @cached_property
    def supernet(self) -> SuperNet:
        whole = self.space.supernet(self.image_shape, self.n_way)
        return whole if self.alone is None else subnet(whole, self.alone)

    def macs(self, arch: Architecture) -> int:
        """Return the multiply-accumulates of an architecture for one image."""
        return sum(layer.macs for layer in self.space.layers(arch, self.image_shape, self.n_way))

    def work(self, arch: Architecture) -> float:
        """Return about what computing an architecture takes, in multiply-accumulates for one image.

        Small networks take far longer than their multiplying: each value that a layer puts out takes some ten more,
        and a network as a whole as many as `NETWORK`. Work is spread by this; no result depends on it.
        """
        layers = list(self.space.layers(arch, self.image_shape, self.n_way))
        return NETWORK + sum(layer.macs + VALUE * math.prod(layer.out_shape) for layer in layers)

    def episodes(self, split: Split, purpose: str, indices: Iterable[int], n_query: int, *counter: int) -> Episodes:
        """Return the tasks ``indices`` of the endless, seeded stream that ``purpose`` and ``counter`` name.

        A task depends on its index only, so workers may draw any part of a stream. The last batch is remembered, and
        of a stream without a counter some tasks: a search scores many architectures on the same ones. Of one with a
        counter, tasks of the next count are drawn ahead, see `prepare`.
        """
        wanted = tuple(indices)
        spec = EpisodeSpec(n_way=self.n_way, k_shot=self.k_shot, n_query=n_query)
        stream = Stream(split=split, purpose=purpose, spec=spec, counter=counter)
        key = (stream, wanted)
        if self._last is None or self._last[0] != key:
            if self.given is not None:
                drawn = self.given.select(wanted)
            elif counter:
                drawn = self._prefetcher.get(stream, wanted)
            else:
                drawn = Episodes.gather((self._task(stream, i) for i in wanted), len(wanted))
            self._last = (key, drawn.to(self.accelerator))
        return self._last[1]

    def prepare(self) -> bool:
        """Draw a few tasks that a training is likely to need next; tell whether there may be more.

        A worker process calls it while it waits for work, so that its training does not wait for tasks.
        """
        return not self.prefetch and self._prefetcher.prepare()

    def _task(self, stream: Stream, index: int) -> Episodes:
        """Draw a task, or return it as it was drawn before; those not asked for the longest are forgotten."""
        key = (stream, index)
        if key in self._drawn:
            self._drawn.move_to_end(key)
            return self._drawn[key]
        task = self._drawn[key] = self._draw(stream, [index])
        while sum(t.nbytes for t in self._drawn.values()) > REMEMBERED_BYTES and len(self._drawn) > 1:
            self._drawn.popitem(last=False)
        return task

    def _draw(self, stream: Stream, indices: Sequence[int]) -> Episodes:
        generators = [self.seeds.numpy(stream.purpose, *stream.counter, i) for i in indices]
        return self.tasks.sample(stream.split, stream.spec, generators)

    @cached_property
    def _prefetcher(self) -> Prefetcher:
        return Prefetcher(self._draw, thread=self.prefetch)

    def send(self, executor: Executor) -> None:
        """Put this set-up into the workers under the name ``setup``.

        The super-net is made here first: what it compiles is compiled once, not by every worker at the same time, and
        what it has to say to the user is said by one process.
        """
        _ = self.supernet
        executor.put(setup=self)

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        state.pop("supernet", None)
        state.pop("_prefetcher", None)
        return {**state, "_last": None, "_drawn": OrderedDict()}
