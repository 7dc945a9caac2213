"""A forward pass through convolution blocks and a classifier: on the fast path where that serves it, else plainly."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from hnas import NormStats
from hnas.supernet import Params
from hnas_plugins.engine import blocks as engine
from hnas_plugins.spaces.blocks.plain import (
    conv_norm_activation,
    conv_norm_activation_tasks,
    group_tasks,
    pool_linear,
    pool_linear_tasks,
)

Features = Callable[[Callable[..., Tensor], Params, Tensor, NormStats | None], Tensor]
"""(block, shared, x, stats) → the last feature map: what a super-net does with a block of either path."""


def forward(features: Features, shared: Params, x: Tensor, pool: int, stats: NormStats | None) -> Tensor:
    """Return the logits (N, n_way) of images (N, C, H, W), as `hnas.SuperNet.forward` says."""
    if engine.usable(x, stats):
        batch = None if stats is None else NormStats("collect")
        logits = _fast(features, {k: v[None] for k, v in shared.items()}, x[None], pool, batch)
        if stats is not None and batch is not None:
            stats.mean |= {k: v[0] for k, v in batch.mean.items()}
            stats.var |= {k: v[0] for k, v in batch.var.items()}
        return logits[0]
    x = features(conv_norm_activation, shared, x, stats)
    return pool_linear(x, shared["fc.weight"], shared["fc.bias"], pool)


def forward_tasks(features: Features, shared: Params, x: Tensor, pool: int, stats: NormStats | None) -> Tensor:
    """Return the logits (T, N, n_way): all tasks at once; without the engine, as groups of each convolution."""
    if engine.usable(x, stats):
        return _fast(features, shared, x, pool, stats)
    x = features(conv_norm_activation_tasks, shared, group_tasks(x), stats)
    return pool_linear_tasks(x, shared["fc.weight"], shared["fc.bias"], pool)


def _fast(features: Features, shared: Params, x: Tensor, pool: int, stats: NormStats | None) -> Tensor:
    x = features(engine.conv_norm_activation, shared, engine.channels_last(x), stats)
    return engine.pool_linear(x, shared["fc.weight"], shared["fc.bias"], pool)
