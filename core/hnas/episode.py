"""A few-shot task, as tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = ("support_x", "support_y", "query_x", "query_y")
"""The tensors of `Episodes`, by name."""


@frozen(kw_only=True)
class EpisodeSpec:
    """The size of a task: ``n_way`` classes, ``k_shot`` labelled images and ``n_query`` test images for each."""

    n_way: int = 5
    k_shot: int = 1
    n_query: int = 15


@frozen(kw_only=True, eq=False)
class Episodes:
    """A batch of tasks, stacked on a leading task dimension T.

    Images are float32; labels are int64 in ``0 … n_way-1`` and stand in the order ``0,0,…,1,1,…`` in every task.
    """

    support_x: Tensor  # (T, n_way*k_shot, C, H, W)
    support_y: Tensor  # (T, n_way*k_shot)
    query_x: Tensor  # (T, n_way*n_query, C, H, W)
    query_y: Tensor  # (T, n_way*n_query)

    @classmethod
    def gather(cls, tasks: Iterable[Episodes], count: int) -> Episodes:
        """Join ``count`` single tasks that are drawn one after the other, and keep none in memory twice."""
        gathered: dict[str, Tensor] = {}
        for i, task in enumerate(tasks):
            for name in TENSORS:
                one = getattr(task, name)
                gathered.setdefault(name, one.new_empty((count, *one.shape[1:])))[i] = one[0]
        return cls(**gathered)

    def __len__(self) -> int:
        return int(self.support_x.shape[0])

    def to(self, device: str) -> Episodes:
        """Return the tasks on a device, without a copy if they are there already."""
        return Episodes(**{n: getattr(self, n).to(device) for n in TENSORS})

    @property
    def nbytes(self) -> int:
        """The memory that the tensors take, in bytes."""
        return sum(getattr(self, n).nbytes for n in TENSORS)

    def select(self, tasks: Iterable[int]) -> Episodes:
        """Return the tasks with these numbers, in this order."""
        wanted = list(tasks)
        return Episodes(**{n: getattr(self, n)[wanted] for n in TENSORS})

    def __getitem__(self, tasks: slice) -> Episodes:
        """Return the tasks of a slice."""
        return Episodes(**{n: getattr(self, n)[tasks] for n in TENSORS})
