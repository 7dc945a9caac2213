"""How a learner compares features: the part that differs between learners without an inner loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from hnas.supernet import Params
from hnas.toolkit.learning import task_losses

Size = tuple[int, int]
"""Channels C and places P of the features of an image. Features (…, C, P) are those of T tasks."""


class Rule(ABC):
    """Classifies images by their features and those of the support images. `Comparing` calls it; it has no state."""

    batched: ClassVar[bool] = False
    """Whether each task of a batch gets the same bits as alone; if not, `Comparing` gives it one task at a time.

    Reductions over several dimensions round otherwise if there are other tasks, and so do broadcast products.
    """

    def init(self, size: Size, generator: torch.Generator) -> Params:
        """Return parameters of its own for features of the largest ``size``. By default there are none."""
        return {}

    def own(self, params: Params, size: Size) -> Params:
        """Return the first part of its parameters, as views, for an architecture with features of ``size``."""
        return params

    @abstractmethod
    def keep(self, own: Params, support: Tensor) -> Tensor:
        """Return what is kept of a task (T, …), from support features (T, n_way, k_shot, C, P)."""

    @abstractmethod
    def logits(self, own: Params, kept: Tensor, x: Tensor) -> Tensor:
        """Return logits (T, N, n_way) for features ``x`` (T, N, C, P). Parameters have a leading dimension T, too."""

    @abstractmethod
    def macs(self, size: Size, n_way: int, k_shot: int) -> int:
        """Return the multiply-accumulates that comparing one image takes."""

    @abstractmethod
    def stored(self, size: Size, n_way: int, k_shot: int) -> int:
        """Return how many numbers `keep` returns for one task, and how many parameters of its own there are."""

    def losses(self, own: Params, kept: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, and the training loss (T,) with labels ``y`` (T, N): by default the cross-entropy."""
        logits = self.logits(own, kept, x)
        return logits, task_losses(logits, y)
