"""DropBlock: in training, squares of a feature map are set to 0 (Ghiasi et al., NeurIPS 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

SIZE = 5
"""Side of a dropped square, in pixels, or that of the map if it is smaller; as is usual for ResNet12."""


def drop_mask(rate: float, generators: Sequence[Generator], x: Tensor, *, tasks_first: bool) -> Tensor:
    """Return factors for the maps of all tasks: 0 in dropped squares, elsewhere above 1 so that means stay.

    ``x`` is (T, N, H, W, C) if ``tasks_first``, else (N, T*C, H, W). ``rate`` is the share of the features to drop. A
    task's mask depends on its generator only, not on the other tasks.
    """
    if tasks_first:
        _, n, height, width, channels = x.shape
    else:
        n, channels, height, width = x.shape
        channels //= len(generators)
    masks = torch.stack([_mask(rate, (n, channels, height, width), g) for g in generators])
    ordered = masks.permute(0, 1, 3, 4, 2) if tasks_first else masks.transpose(0, 1).flatten(1, 2)
    return ordered.to(x)


def _mask(rate: float, shape: tuple[int, int, int, int], generator: Generator) -> Tensor:
    """Return the mask (N, C, H, W) of one task.

    Centres lie where the whole square fits. With gamma, their share (Eq. 1 there), ``rate`` of all features is dropped
    if squares do not overlap.
    """
    n, channels, height, width = shape
    size = min(SIZE, height, width)
    valid = (height - size + 1, width - size + 1)
    gamma = rate / size**2 * (height * width) / (valid[0] * valid[1])
    corners = (torch.rand(n, channels, *valid, generator=generator) < gamma).float()
    dropped = F.max_pool2d(F.pad(corners, [size - 1] * 4), size, stride=1)
    kept = 1 - dropped
    return kept * (kept.numel() / kept.sum().clamp(min=1))
