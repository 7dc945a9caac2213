"""Floating-point operations that MAML needs: those of its products, without any that are repeated to save memory.

A layer's forward product takes F = 2 FLOP for each MAC. Its gradients by weight (W) and by input (D) are products of
the same size; the first layer has no D. Differentiating a support step once more costs, for each layer, W and D of its
forward product, forward and W of its D, and forward and D of its W: 6 F (first layer: 2 F). Element-wise work counts
nothing, so a share of the peak below 100 % is also what normalisation, activation and pooling cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from hnas import Layer


@frozen(kw_only=True)
class TaskSize:
    """What of a few-shot task its cost depends on."""

    n_support: int
    n_query: int
    steps: int


def forward_flops(layers: Sequence[Layer]) -> list[int]:
    """Return the FLOP of one image's forward pass for each convolution and linear layer, input side first."""
    return [2 * layer.macs for layer in layers if layer.macs]


def meta_flops(layers: Sequence[Layer], size: TaskSize, *, second_order: bool, multi_step_loss: bool = False) -> int:
    """Return the FLOP of one task's meta-gradient."""
    first, *rest = forward_flops(layers)
    gradient = 2 * first + 3 * sum(rest)
    double = 2 * first + 6 * sum(rest) if second_order else 0
    queries = size.steps if multi_step_loss else 1
    return size.steps * size.n_support * (gradient + double) + queries * size.n_query * gradient


def adaption_flops(layers: Sequence[Layer], size: TaskSize) -> int:
    """Return the FLOP of scoring one task: gradient steps on the support set, one forward pass over the queries."""
    first, *rest = forward_flops(layers)
    return size.steps * size.n_support * (2 * first + 3 * sum(rest)) + size.n_query * (first + sum(rest))
