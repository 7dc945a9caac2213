"""A few-shot task, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from torch import Tensor


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
    def concatenate(cls, batches: Sequence[Episodes]) -> Episodes:
        """Join batches along the task dimension."""
        import torch

        names = ("support_x", "support_y", "query_x", "query_y")
        return cls(**{n: torch.cat([getattr(b, n) for b in batches]) for n in names})

    def __len__(self) -> int:
        return int(self.support_x.shape[0])

    def to(self, device: str) -> Episodes:
        """Return the tasks on a device, these ones where they are there already."""
        return Episodes(
            support_x=self.support_x.to(device),
            support_y=self.support_y.to(device),
            query_x=self.query_x.to(device),
            query_y=self.query_y.to(device),
        )

    @property
    def nbytes(self) -> int:
        """The memory that the tensors take."""
        return sum(t.nbytes for t in (self.support_x, self.support_y, self.query_x, self.query_y))

    def __getitem__(self, tasks: slice) -> Episodes:
        """Return the tasks of a slice."""
        return Episodes(
            support_x=self.support_x[tasks],
            support_y=self.support_y[tasks],
            query_x=self.query_x[tasks],
            query_y=self.query_y[tasks],
        )
