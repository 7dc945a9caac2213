"""Products that are linear in both arguments, closed under differentiation: to any order, and on any device.

A convolution y(x, w) has the gradients x(y, w) and w(x, y), and each is again linear in both arguments. The gradients
of each of the three are the two others. So autograd never needs more than three functions.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor
from torch.autograd import Function

from hnas_plugins.engine.native import apply

TAKES = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}
"""What each product is computed from."""


class Bilinear(Protocol):
    """A product y for given shapes of its arguments, and its gradients by x and by w from the gradient ``y``."""

    def y(self, x: Tensor, w: Tensor) -> Tensor: ...
    def x(self, y: Tensor, w: Tensor) -> Tensor: ...
    def w(self, x: Tensor, y: Tensor) -> Tensor: ...


def product(bilinear: Bilinear, x: Tensor, w: Tensor) -> Tensor:
    """Return ``bilinear.y(x, w)``, differentiable to any order."""
    y: Tensor = apply(_Product, x, w, bilinear, "y")
    return y


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bilinear: Bilinear, kind: str) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.rest = bilinear, kind
        found: Tensor = getattr(bilinear, kind)(a, b)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        bilinear, kind = ctx.rest
        known = dict(zip(TAKES[kind], ctx.saved_tensors, strict=True)) | {kind: gradient}
        by_a, by_b = (
            apply(_Product, *(known[name] for name in TAKES[of]), bilinear, of) if needed else None
            for of, needed in zip(TAKES[kind], ctx.needs_input_grad, strict=False)
        )
        return by_a, by_b, None, None
