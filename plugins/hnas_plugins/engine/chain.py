"""Gradients without autograd, for adaption: the engine's blocks run forward, then gone back through by hand.

No graph is built, nothing is kept for a second derivative, the gradient of a normalisation overwrites its input, and
what adaption does not need (the gradient of the first layer's input) is not computed.
"""

from __future__ import annotations

from functools import cache

import torch
from attrs import field, frozen
from torch import Tensor
from torch.nn import functional as F

from hnas import NormStats
from hnas_plugins.engine import conv
from hnas_plugins.engine.blocks import EPS
from hnas_plugins.engine.norm import ACTIVATION_CODES, Norm


@frozen(eq=False)
class _Block:
    geometry: conv.Geometry
    x: Tensor
    weight: Tensor
    norm: Norm


@frozen(eq=False)
class Chain:
    """The blocks that a pass went through, one after the other; `back` goes back through them, once."""

    _blocks: list[_Block] = field(factory=list, init=False)

    def conv_norm_activation(
        self,
        x: Tensor,  # (T, N, H, W, C)
        weight: Tensor,  # (T, O, C, k, k)
        gamma: Tensor,  # (T, O)
        beta: Tensor,  # (T, O)
        *,
        activation: str,
        stride: int,
        max_pool: bool,
        norm: str,
        stats: NormStats | None,
    ) -> Tensor:
        """Do `hnas_plugins.engine.blocks.conv_norm_activation` by the statistics of the batch, and remember it."""
        w = weight.permute(0, 1, 3, 4, 2)
        geometry = conv.Geometry.of(x, w, stride)
        z = conv.forward(geometry, x, w)
        y, kept = Norm.forward(z, gamma, beta, ACTIVATION_CODES[activation], max_pool, EPS)
        self._blocks.append(_Block(geometry, x, w, kept))
        return y

    def back(self, gy: Tensor) -> list[Tensor]:
        """Return the gradients of the blocks' weights (T, O, C, k, k), given that of the last block's output."""
        found = []
        while self._blocks:
            block = self._blocks.pop()
            gz, _, _ = block.norm.backward(gy, overwrite=True)
            found.append(conv.weight(block.geometry, block.x, gz).permute(0, 1, 4, 2, 3))
            if self._blocks:
                gy = conv.data(block.geometry, gz, block.weight)
        return found[::-1]


def classifier_gradients(
    x: Tensor,  # (T, N, H, W, C)
    weight: Tensor,  # (T, n_way, C, pool²)
    bias: Tensor,  # (T, n_way)
    y: Tensor,  # (T, N)
    pool: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of each task's mean cross-entropy by ``x``, ``weight`` and ``bias``."""
    t, n, h, w, c = x.shape
    n_way = weight.shape[1]
    averages = _averages(h, w, pool, x.dtype)
    features = (averages @ x.view(t, n, h * w, c)).transpose(2, 3).reshape(t, n, -1)  # (T, N, C*pool²)
    flat = weight.flatten(2)
    logits = torch.baddbmm(bias[:, None], features, flat.transpose(1, 2))
    g = (logits.softmax(-1) - F.one_hot(y, n_way)) / n
    g_maps = torch.bmm(g, flat).view(t, n, c, -1).transpose(2, 3)  # (T, N, pool², C)
    gx = (averages.T @ g_maps).view(x.shape)
    return gx, torch.bmm(g.transpose(1, 2), features).view(weight.shape), g.sum(1)


@cache
def _averages(h: int, w: int, pool: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix (pool², h*w) that averages a map as `adaptive_avg_pool2d` does."""
    pixels = torch.eye(h * w, dtype=dtype).view(h * w, 1, h, w)
    return F.adaptive_avg_pool2d(pixels, pool).flatten(1).T.contiguous()
