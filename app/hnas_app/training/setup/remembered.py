"""Tasks that were drawn before, kept in one block of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from attrs import define, field

from hnas.episode import Episodes
from hnas_app.training.setup.prefetch import Draw, Stream

REMEMBERED_BYTES = 64 << 20


@define(eq=False)
class Remembered:
    """Draws single tasks of a stream, and keeps as many as `REMEMBERED_BYTES` hold; the longest unused makes room.

    All are copied into one block. Kept each where it was drawn, hundreds of tasks hold the heap apart: with 600 of 1 MB
    a worker grew to 4 GB, nearly all of it free.
    """

    _draw: Draw
    _stream: Stream | None = field(default=None, init=False)
    _block: Episodes | None = field(default=None, init=False)
    _places: OrderedDict[int, int] = field(factory=OrderedDict, init=False)
    """Where in the block a task is, by its index; the longest unused first."""

    def get(self, stream: Stream, indices: Sequence[int]) -> Episodes:
        """Return tasks of a stream as one batch; those of another stream are forgotten."""
        if stream != self._stream:
            self._stream, self._block = stream, None
            self._places.clear()
        return Episodes.gather((self._task(stream, index) for index in indices), len(indices))

    def _task(self, stream: Stream, index: int) -> Episodes:
        place = self._places.pop(index, None)
        if place is None:
            drawn = self._draw(stream, [index])
            if self._block is None:
                self._block = _room(drawn)
            full = len(self._places) == len(self._block)
            place = self._places.popitem(last=False)[1] if full else len(self._places)
            for name, block in self._block.tensors.items():
                block[place] = drawn.tensors[name][0]
        self._places[index] = place
        assert self._block is not None
        return self._block[place : place + 1]


def _room(task: Episodes) -> Episodes:
    """Return a block for tasks of this size; the memory is taken as it fills."""
    count = max(1, REMEMBERED_BYTES // task.nbytes)
    return Episodes(**{n: v.new_empty((count, *v.shape[1:])) for n, v in task.tensors.items()})
