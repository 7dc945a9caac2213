"""Random changes of training images that leave their class as it is, all from a numpy generator.

The options load without torch: `hnas --help` lists them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen, validators

from hnas.settings import at_least_0, setting

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class AugmentationOptions:
    """Options of every source of photographs, applied to training images only. 0 or false switches a part off."""

    flip: bool = setting(False, "augmentation: mirror half of the training images", validators.instance_of(bool))
    crop: int = setting(0, "augmentation: shift training images by up to so many pixels each way", at_least_0)
    rotation: float = setting(0.0, "augmentation: turn training images, degrees, uniform in ±", at_least_0)
    colour: float = setting(
        0.0, "augmentation: brightness, contrast and saturation, each times 1 ± this, uniformly", at_least_0
    )

    @property
    def augments(self) -> bool:
        """Whether anything is switched on."""
        return bool(self.flip or self.crop or self.rotation or self.colour)


def augment(images: Tensor, options: AugmentationOptions, generator: np.random.Generator) -> Tensor:
    """Change each of ``images`` (N, C, H, W), float32 in 0…1, on its own; returns the same shape and range.

    Pixels that a shift or a turn brings in from outside repeat those at the edge.
    """
    if options.flip or options.crop or options.rotation:
        images = _warp(images, options, generator)
    return _colour(images, options.colour, generator) if options.colour else images


def _warp(images: Tensor, options: AugmentationOptions, generator: np.random.Generator) -> Tensor:
    import torch
    import torch.nn.functional as F

    n, _, height, width = images.shape
    angle = math.radians(options.rotation) * generator.uniform(-1, 1, n)
    mirror = np.where(options.flip & (generator.random(n) < 0.5), -1.0, 1.0)
    shift = generator.integers(-options.crop, options.crop, (n, 2), endpoint=True)
    cos, sin, aspect = np.cos(angle), np.sin(angle), height / width
    # From a pixel of the new image to the one of the old that it shows; both span -1…1 each way.
    theta = np.stack(
        [
            np.stack([mirror * cos, -mirror * sin * aspect, 2 * shift[:, 0] / width], 1),
            np.stack([sin / aspect, cos, 2 * shift[:, 1] / height], 1),
        ],
        1,
    )
    grid = F.affine_grid(torch.from_numpy(theta).float(), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _colour(images: Tensor, strength: float, generator: np.random.Generator) -> Tensor:
    import torch

    factors = torch.from_numpy(generator.uniform(max(0.0, 1 - strength), 1 + strength, (3, len(images), 1, 1, 1)))
    brightness, contrast, saturation = factors.float()
    images = images * brightness
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
    images = torch.lerp(images.mean(1, keepdim=True), images, saturation)
    return images.clamp_(0, 1)
