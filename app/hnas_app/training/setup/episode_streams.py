"""The tasks of a set-up: endless, seeded streams; any process can draw any part of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property

from attrs import define, field

from hnas.episode import Episodes, EpisodeSpec
from hnas.seeds import Seeds
from hnas.task_source import Split, TaskSource
from hnas_app.training.setup.prefetch import Prefetcher, Stream

REMEMBERED_BYTES = 64 << 20


@define(kw_only=True, eq=False, slots=False)
class EpisodeStreams:
    """Draws tasks by stream and index; a task depends on these and the seed only, so workers may draw any part.

    The last batch is remembered, and some single tasks of a stream without a counter: a search scores many
    architectures on the same ones. For a stream with a counter, tasks of the next count are drawn ahead.
    """

    tasks: TaskSource
    n_way: int
    k_shot: int
    seeds: Seeds
    accelerator: str
    """The device that tasks are returned on."""
    given: Episodes | None
    """Tasks to return instead of drawn ones, by index."""
    prefetch: bool
    """Draw ahead in a thread of this process, see `Prefetcher`."""
    _last: tuple[object, Episodes] | None = field(default=None, init=False)
    _drawn: OrderedDict[object, Episodes] = field(factory=OrderedDict, init=False)

    def __call__(self, split: Split, purpose: str, indices: Iterable[int], n_query: int, *counter: int) -> Episodes:
        """Return the tasks ``indices`` of the stream that ``purpose`` and ``counter`` name."""
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
        """Draw a few tasks that a training is likely to need next; return whether there may be more."""
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
