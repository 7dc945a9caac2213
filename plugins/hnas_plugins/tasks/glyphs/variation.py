"""Random affine and elastic variation of small grey images, many at once, all from a numpy generator."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor

_KNOTS = 5
"""The smooth displacement field is given at a grid of 5×5 points and interpolated between them."""
_CHUNK = 2048
"""Images warped at once, so that the sampling grid stays in the cache."""


@frozen(kw_only=True)
class Variation:
    """How strongly images vary. 0 switches a part off."""

    rotation: float  # degrees, uniform in ±
    scale: float  # logarithm of the size, uniform in ±, each axis on its own
    shear: float  # uniform in ±
    shift: float  # pixels, uniform in ±
    elastic: float  # pixels, standard deviation of the displacement at a knot


def vary(images: Tensor, variation: Variation, generator: np.random.Generator) -> Tensor:
    """Return float32 images (N, 1, H, H) in 0…1, each of ``images`` (uint8, (N, H, H)) under a warp of its own."""
    n, side = images.shape[0], images.shape[-1]
    theta = torch.from_numpy(_affine(variation, n, side, generator))  # (N, 2, 3)
    knots = generator.standard_normal((n, 2, _KNOTS * _KNOTS), dtype=np.float32)
    knots *= 2 * variation.elastic / side  # pixels to grid_sample's unit, where the image spans -1…1
    field = torch.from_numpy(knots)
    spread, points = _interpolation(side)
    varied = torch.empty(n, 1, side, side)
    for at in range(0, n, _CHUNK):
        part = slice(at, at + _CHUNK)
        grid = torch.baddbmm(field[part] @ spread, theta[part], points.expand(len(theta[part]), -1, -1))
        varied[part] = F.grid_sample(
            images[part, None].float(),
            grid.transpose(1, 2).reshape(-1, side, side, 2),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
    return varied.mul_(1 / 255)


def _affine(variation: Variation, n: int, side: int, generator: np.random.Generator) -> np.ndarray:
    """Return matrices (N, 2, 3) that take a point of the varied image to the point of the original it shows."""
    draw = generator.uniform(-1, 1, (6, n)).astype(np.float32)
    angle = np.deg2rad(variation.rotation) * draw[0]
    zoom_x, zoom_y = np.exp(variation.scale * draw[1]), np.exp(variation.scale * draw[2])
    shear = variation.shear * draw[3]
    cos, sin = np.cos(angle), np.sin(angle)
    theta = np.empty((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = zoom_x * cos, zoom_x * (shear * cos - sin)
    theta[:, 1, 0], theta[:, 1, 1] = zoom_y * sin, zoom_y * (shear * sin + cos)
    theta[:, :, 2] = (2 * variation.shift / side) * draw[4:6].T
    return theta


@lru_cache(maxsize=4)
def _interpolation(side: int) -> tuple[Tensor, Tensor]:
    """Return the bicubic interpolation from knots to pixels (knots², side²), and the pixels' places (3, side²)."""
    basis = torch.eye(_KNOTS * _KNOTS).view(-1, 1, _KNOTS, _KNOTS)
    spread = F.interpolate(basis, (side, side), mode="bicubic", align_corners=True).flatten(1)
    axis = (torch.arange(side) * 2 + 1) / side - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return spread, torch.stack([x.flatten(), y.flatten(), torch.ones(side * side)])
