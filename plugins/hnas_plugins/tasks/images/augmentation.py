"""Random changes of training images that leave their class as it is, all from a numpy generator."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hnas_plugins.tasks.images.augmentation_options import AugmentationOptions


def augment(images: Tensor, options: AugmentationOptions, generator: np.random.Generator) -> Tensor:
    """Change each of ``images`` (N, C, H, W), float32 in 0…1, on its own; returns the same shape and range.

    What a shift or a turn brings in from outside repeats the pixels at the edge.
    """
    if options.flip or options.crop or options.rotation:
        images = _warp(images, options, generator)
    return _colour(images, options.colour, generator) if options.colour else images


def _warp(images: Tensor, options: AugmentationOptions, generator: np.random.Generator) -> Tensor:
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
    factors = torch.from_numpy(generator.uniform(max(0.0, 1 - strength), 1 + strength, (3, len(images), 1, 1, 1)))
    brightness, contrast, saturation = factors.float()
    images = images * brightness
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
    images = torch.lerp(images.mean(1, keepdim=True), images, saturation)
    return images.clamp_(0, 1)
