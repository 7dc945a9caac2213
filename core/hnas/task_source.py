"""The interface TaskSource: where few-shot tasks come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from hnas.episode import Episodes, EpisodeSpec
from hnas.layer import Shape

if TYPE_CHECKING:
    import numpy as np

    from hnas.toolkit.remote_file import RemoteFile

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@frozen(kw_only=True)
class Origin:
    """The default location of a data set (``None``: set by the user), its licence, and how to get it."""

    path: Path | None
    licence: str
    how: str


class TaskSource(ABC):
    """A data set with disjoint classes for meta-training, validation and test."""

    inverted: bool = False
    """Whether images are drawings in dark ink on bright paper with inverted brightness, so that ink is 1."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes for a worker: all but cached properties, so that data are opened there, not sent."""
        return {k: v for k, v in self.__dict__.items() if not isinstance(getattr(type(self), k, None), cached_property)}

    @property
    @abstractmethod
    def image_shape(self) -> Shape:
        """Channels, height and width of an image. May open the data."""

    @abstractmethod
    def n_classes(self, split: Split) -> int:
        """Return how many classes a split has."""

    @abstractmethod
    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        """Draw one task from each generator, stacked in their order.

        All randomness of a task (classes, images, augmentation) comes from its generator, so that any worker can draw
        it, together with any others. No class occurs twice in a task, and no image in both support and query. Raises
        `DataError` if the split has too few classes for ``spec``, or any class of it too few images, drawn or not.
        """

    # ---------------------------------------------------------------- optional

    def class_digests(self, split: Split) -> Mapping[str, str]:
        """Return a digest of the content of each class by its name; empty if unknown, as by default.

        A run records them before it trains, and refuses others later. Every process calls this in every phase, so
        digests of much data should be kept. Variants of a class, such as rotations, need no name of their own.
        """
        return {}

    def restricted_to(self, classes: Collection[str]) -> TaskSource | None:
        """Return this source as if it had only the classes of these names, or ``None`` if it cannot leave others out.

        It lets a run go on with its own classes if others were added to the data since.
        """
        return None

    def remote_files(self) -> Sequence[RemoteFile]:
        """Return the files that `hnas data fetch` downloads, and where they belong. None by default."""
        return ()

    def origin(self) -> Origin | None:
        """Return the origin that `hnas data list` prints, or ``None`` if no data are needed."""
        return None

    def check(self) -> str:
        """Read the data and describe them in a sentence. Raises `DataError` if something is missing.

        Called by `hnas data check`. The default draws one 2-way 1-shot task from every split.
        """
        import numpy as np

        for split in SPLITS:
            self.sample(split, EpisodeSpec(n_way=2, k_shot=1, n_query=1), [np.random.default_rng(0)])
        shape = "x".join(map(str, self.image_shape))
        return f"{', '.join(f'{self.n_classes(s)} {s}' for s in SPLITS)} classes of {shape} images"
