"""Classes of equally large images, and tasks drawn from them: what every source of photographs is made of."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from hnas.episode import Episodes, EpisodeSpec
from hnas.layer import Shape
from hnas_plugins.tasks.array_cache import Images
from hnas_plugins.tasks.augmentation_options import AugmentationOptions
from hnas_plugins.tasks.sampling import Indices, assemble, draw_classes, draw_images


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
        n_tasks: int,
        spec: EpisodeSpec,
        generator: np.random.Generator,
        *,
        what: str,
        augmentation: AugmentationOptions | None = None,
    ) -> Episodes:
        """Draw tasks, pixels in 0…1. ``what`` names the split in the `DataError` where it has too little for them."""
        import torch

        from hnas_plugins.tasks.augmentation import augment

        classes = draw_classes(generator, n_tasks, len(self), spec, what)
        support, query = draw_images(generator, n_tasks, self.counts[classes], spec, what)
        starts = self.starts[classes][:, :, None]
        wanted = np.concatenate([(starts + support).ravel(), (starts + query).ravel()])
        images = torch.from_numpy(self.images[wanted]).permute(0, 3, 1, 2)
        pixels = images.to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / 255)
        if augmentation is not None and augmentation.augments:
            pixels = augment(pixels, augmentation, generator)
        return assemble(pixels, n_tasks, spec)
