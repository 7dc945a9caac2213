"""A few-shot task, as tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = ("support_x", "support_y", "query_x", "query_y")
"""The tensors that all `Episodes` have, by name."""


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
    ``classes`` are the ids of the classes in their split, int64 in ``0 … n_classes-1``: label ``i`` of task ``t`` is
    class ``classes[t, i]``, and a class has one id in all tasks. ``None`` if the source does not know them.
    """

    support_x: Tensor  # (T, n_way*k_shot, C, H, W)
    support_y: Tensor  # (T, n_way*k_shot)
    query_x: Tensor  # (T, n_way*n_query, C, H, W)
    query_y: Tensor  # (T, n_way*n_query)
    classes: Tensor | None = None  # (T, n_way)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without ``classes`` if there are none."""
        return {n: v for n in (*TENSORS, "classes") if (v := getattr(self, n)) is not None}

    @classmethod
    def gather(cls, tasks: Iterable[Episodes], count: int) -> Episodes:
        """Join ``count`` single tasks that are drawn one after the other, and keep none in memory twice."""
        gathered: dict[str, Tensor] = {}
        for i, task in enumerate(tasks):
            if i and gathered.keys() != task.tensors.keys():
                raise ValueError("some tasks have classes, and others have none")
            for name, one in task.tensors.items():
                gathered.setdefault(name, one.new_empty((count, *one.shape[1:])))[i] = one[0]
        return cls(**gathered)

    def __len__(self) -> int:
        return int(self.support_x.shape[0])

    def to(self, device: str) -> Episodes:
        """Return the tasks on a device, without a copy if they are there already."""
        return Episodes(**{n: v.to(device) for n, v in self.tensors.items()})

    @property
    def nbytes(self) -> int:
        """The memory that the tensors take, in bytes."""
        return sum(v.nbytes for v in self.tensors.values())

    def select(self, tasks: Iterable[int]) -> Episodes:
        """Return the tasks with these numbers, in this order."""
        wanted = list(tasks)
        return Episodes(**{n: v[wanted] for n, v in self.tensors.items()})

    def __getitem__(self, tasks: slice) -> Episodes:
        """Return the tasks of a slice."""
        return Episodes(**{n: v[tasks] for n, v in self.tensors.items()})
