"""The tasks of a set-up: endless, seeded streams; any process can draw any part of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial

from attrs import define, field

from hnas.episode import Episodes, EpisodeSpec
from hnas.layer import Shape
from hnas.seeds import Seeds
from hnas.task_source import Split, TaskSource
from hnas_app.training.setup.prefetch import Draw, Prefetcher, Stream
from hnas_app.training.setup.remembered import Remembered
from hnas_app.training.setup.returned import image_shape, sampled


@define(kw_only=True, eq=False, slots=False)
class EpisodeStreams:
    """Draws tasks by stream and index; a task depends on these and the seed only, so workers may draw any part.

    The last batch is remembered, and some single validation tasks: a search scores many architectures on the same ones.
    For a stream with a counter, tasks of the next count are drawn ahead.
    """

    tasks: TaskSource
    sizes: Mapping[Split, tuple[int, int]]
    """The number of classes in a task of each split, and of labelled images of each class."""
    seeds: Seeds
    accelerator: str
    """The device that tasks are returned on."""
    given: Episodes | None
    """Tasks to return instead of drawn ones, by index."""
    prefetch: bool
    """Draw ahead in a thread of this process, see `Prefetcher`."""
    _last: tuple[object, Episodes] | None = field(default=None, init=False)

    def __call__(self, split: Split, purpose: str, indices: Iterable[int], n_query: int, *counter: int) -> Episodes:
        """Return the tasks ``indices`` of the stream that ``purpose`` and ``counter`` name."""
        wanted = tuple(indices)
        n_way, k_shot = self.sizes[split]
        spec = EpisodeSpec(n_way=n_way, k_shot=k_shot, n_query=n_query)
        stream = Stream(split=split, purpose=purpose, spec=spec, counter=counter)
        key = (stream, wanted)
        if self._last is None or self._last[0] != key:
            self._last = None  # before the next is drawn, which then takes its place in memory
            if self.given is not None:
                drawn = self.given.select(wanted)
            elif counter:
                drawn = self._prefetcher.get(stream, wanted)
            elif split == "test":  # each network sees each of them once
                drawn = Episodes.gather((self._draw(stream, [i]) for i in wanted), len(wanted))
            else:
                drawn = self._remembered.get(stream, wanted)
            self._last = (key, drawn.to(self.accelerator))
        return self._last[1]

    def prepare(self) -> bool:
        """Draw a few tasks that a training is likely to need next; return whether there may be more."""
        return not self.prefetch and self._prefetcher.prepare()

    @cached_property
    def _prefetcher(self) -> Prefetcher:
        return Prefetcher(self._draw, thread=self.prefetch)

    @cached_property
    def _remembered(self) -> Remembered:
        return Remembered(self._draw)

    @cached_property
    def _shape(self) -> Shape:
        return image_shape(self.tasks)

    @property
    def _draw(self) -> Draw:
        """A function that does not hold these streams: in a circle their tasks would outlive them."""
        return partial(_drawn, self.tasks, self._shape, self.seeds)


def _drawn(tasks: TaskSource, shape: Shape, seeds: Seeds, stream: Stream, indices: Sequence[int]) -> Episodes:
    generators = [seeds.numpy(stream.purpose, *stream.counter, i) for i in indices]
    return sampled(tasks, stream.split, stream.spec, generators, shape)
