"""Classes of equally large images, and tasks drawn from them: the base of every source of photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from hnas.episode import Episodes, EpisodeSpec
from hnas_plugins.tasks.images.array_cache import Images, release
from hnas_plugins.tasks.images.augmentation import AugmentationOptions, augment
from hnas_plugins.tasks.sampling import Indices, assemble, draw_tasks, pixels


@frozen(kw_only=True, eq=False)
class ImageClasses:
    """The classes of one split. ``images`` may be memory-mapped: only those of a task are read."""

    images: Images  # (N, H, W, C), C = 1 or 3; the images of a class stand together
    starts: Indices  # (classes,): the first image of each class
    counts: Indices  # (classes,): the number of its images

    def tasks(
        self,
        generators: Sequence[np.random.Generator],
        spec: EpisodeSpec,
        *,
        what: str,
        names: Sequence[str] = (),
        augmentation: AugmentationOptions | None = None,
    ) -> Episodes:
        """Draw one task from each generator, pixels in 0…1.

        ``what`` and ``names`` name the split and its classes in the `DataError` for too few classes or images.
        """
        if augmentation is not None and not augmentation.augments:
            augmentation = None
        if augmentation and len(generators) > 1:  # each changes its own images
            each = (self.tasks([g], spec, what=what, names=names, augmentation=augmentation) for g in generators)
            return Episodes.gather(each, len(generators))
        drawn = draw_tasks(generators, len(self.counts), self.counts, spec, what, names)
        images = pixels(self.images[drawn.each_image(self.starts[drawn.classes]) + drawn.images])
        if augmentation:
            images = augment(images, augmentation, generators[0])
        release(self.images)
        return assemble(images, len(drawn), spec, drawn.classes)
