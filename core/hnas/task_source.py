"""The interface TaskSource: where few-shot tasks come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

from hnas.episode import Episodes, EpisodeSpec
from hnas.layer import Shape

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class TaskSource(ABC):
    """A data set with disjoint classes for meta-training, validation and test."""

    @property
    @abstractmethod
    def image_shape(self) -> Shape:
        """Channels, height and width of an image. May open the data."""

    @abstractmethod
    def n_classes(self, split: Split) -> int:
        """Return how many classes a split has."""

    @abstractmethod
    def sample(self, split: Split, n_tasks: int, spec: EpisodeSpec, generator: np.random.Generator) -> Episodes:
        """Draw ``n_tasks`` tasks. No class twice in a task, no image in both support and query.

        All randomness (classes, images, augmentation) comes from ``generator``: one state, one batch. Raises
        `DataError` where the split has too few classes or images for ``spec``.
        """
