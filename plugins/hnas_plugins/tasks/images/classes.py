"""Classes of equally large images, and tasks drawn from them: what every source of photographs is made of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from attrs import frozen

from hnas.episode import Episodes, EpisodeSpec
from hnas.layer import Shape
from hnas.task_source import Split
from hnas_plugins.tasks.drawn_source import DrawnSource
from hnas_plugins.tasks.images.array_cache import Images, release
from hnas_plugins.tasks.images.augmentation_options import AugmentationOptions
from hnas_plugins.tasks.sampling import Indices, assemble, draw_tasks, pixels


@frozen(kw_only=True, eq=False)
class ImageClasses:
    """The classes of one split. Of ``images``, which may be memory-mapped, only what a task shows is read."""

    images: Images  # (N, H, W, C), C = 1 or 3; the images of a class stand together
    starts: Indices  # (classes,): where each class begins
    counts: Indices  # (classes,): how many images it has

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def image_shape(self) -> Shape:
        """Channels, height and width."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def tasks(
        self,
        generators: Sequence[np.random.Generator],
        n_tasks: int,
        spec: EpisodeSpec,
        *,
        what: str,
        augmentation: AugmentationOptions | None = None,
    ) -> Episodes:
        """Draw ``n_tasks`` tasks from each generator, pixels in 0…1; one's do not depend on the others.

        ``what`` names the split in the `DataError` where it has too little for them.
        """
        augments = augmentation is not None and augmentation.augments
        if augments and len(generators) > 1:  # each changes its own images
            each = (self.tasks([g], n_tasks, spec, what=what, augmentation=augmentation) for g in generators)
            return Episodes.gather(each, len(generators))
        drawn = draw_tasks(generators, n_tasks, len(self), self.counts, spec, what)
        images = pixels(self.images[drawn.each_image(self.starts[drawn.classes]) + drawn.images])
        if augmentation is not None and augments:
            from hnas_plugins.tasks.images.augmentation import augment

            images = augment(images, augmentation, generators[0])
        return assemble(images, len(drawn), spec)


class ImageClassesSource(DrawnSource):
    """A task source each split of which is `ImageClasses`. ``augmentation`` is for training tasks only."""

    def __init__(self, augmentation: AugmentationOptions) -> None:
        self._augmentation = augmentation

    @abstractmethod
    def _classes(self, split: Split, spec: EpisodeSpec) -> ImageClasses:
        """Return a split's images. May raise `DataError` where they are not enough for ``spec``; drawing does."""

    @abstractmethod
    def _what(self, split: Split) -> str:
        """Return how messages name a split."""

    def _tasks(
        self, split: Split, generators: Sequence[np.random.Generator], n_tasks: int, spec: EpisodeSpec
    ) -> Episodes:
        classes = self._classes(split, spec)
        augmentation = self._augmentation if split == "train" else None
        episodes = classes.tasks(generators, n_tasks, spec, what=self._what(split), augmentation=augmentation)
        release(classes.images)
        return episodes
