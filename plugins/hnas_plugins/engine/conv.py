"""Convolutions of many tasks, closed under differentiation: the derivatives of each of three products are the others.

y = F(x, w);  gx = D(gy, w);  gw = W(x, gy).  Each is linear in both arguments, so autograd of any order needs no more.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from attrs import frozen
from torch import Tensor

from hnas_plugins.engine.native import apply, library


@frozen
class Geometry:
    """What a convolution does to shapes: images (H, W, C) to (Ho, Wo, O), zero-padded by half the kernel."""

    height: int
    width: int
    channels: int
    kernel: int
    stride: int

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        edge = 2 * self.padding - self.kernel
        return (self.height + edge) // self.stride + 1, (self.width + edge) // self.stride + 1


BLOCK = 1 << 19
"""Numbers in a block of patches, at most."""


class Products(Protocol):
    """One way to compute the three products. x (T, N, H, W, C), w (T, O, k, k, C), y (T, N, Ho, Wo, O)."""

    def forward(self, g: Geometry, x: Tensor, w: Tensor) -> Tensor: ...
    def data(self, g: Geometry, gy: Tensor, w: Tensor) -> Tensor: ...
    def weight(self, g: Geometry, x: Tensor, gy: Tensor) -> Tensor: ...


class Gemm:
    """As matrix products over patches, all tasks in one batch: the better way for small maps and small networks."""

    def forward(self, g: Geometry, x: Tensor, w: Tensor) -> Tensor:
        t, n = x.shape[:2]
        if _shared(w):  # before the first inner step tasks still have one set of weights: one product for all
            return self.forward(g, x.reshape(1, t * n, *x.shape[2:]), w[:1]).view(t, n, *g.out, w.shape[1])
        y = x.new_empty(t, n, *g.out, w.shape[1])
        columns = w.reshape(t, w.shape[1], -1).transpose(1, 2)
        for tasks, images in self._blocks(g, t, n):
            rows = self._rows(g, x[tasks, images])
            torch.bmm(rows, columns[tasks], out=y[tasks, images].view(rows.shape[0], rows.shape[1], -1))
        return y

    def data(self, g: Geometry, gy: Tensor, w: Tensor) -> Tensor:
        t, n, _, _, o = gy.shape
        shape = (t, n, g.height, g.width, g.channels)
        if _shared(w):
            return self.data(g, gy.reshape(1, t * n, *gy.shape[2:]), w[:1]).view(shape)
        gy, columns = gy.contiguous(), w.reshape(t, o, -1)
        if g.kernel == g.stride == 1:
            return torch.bmm(gy.view(t, -1, o), columns).view(shape)
        x = gy.new_empty(shape)
        for tasks, images in self._blocks(g, t, n):
            part, target = gy[tasks, images], x[tasks, images]
            rows = torch.bmm(part.view(part.shape[0], -1, o), columns[tasks])
            self._patches("col2im", g, rows, target)
        return x

    def weight(self, g: Geometry, x: Tensor, gy: Tensor) -> Tensor:
        t, n, _, _, o = gy.shape
        gy = gy.contiguous()
        columns = g.kernel**2 * g.channels
        flat = columns < o  # a product with few columns is several times slower than its transpose
        w = x.new_zeros((t, columns, o) if flat else (t, o, columns))
        for tasks, images in self._blocks(g, t, n):
            part, rows = gy[tasks, images], self._rows(g, x[tasks, images])
            part = part.view(part.shape[0], -1, o)
            if flat:
                w[tasks].baddbmm_(rows.transpose(1, 2), part)
            else:
                w[tasks].baddbmm_(part.transpose(1, 2), rows)
        return (w.transpose(1, 2) if flat else w).reshape(t, o, g.kernel, g.kernel, g.channels)

    def _rows(self, g: Geometry, x: Tensor) -> Tensor:
        """Return the patches of each task's images: (T, N*Ho*Wo, k*k*C)."""
        t, n = x.shape[:2]
        if g.kernel == g.stride == 1:
            return x.reshape(t, -1, g.channels)
        rows = x.new_empty(t, n * g.out[0] * g.out[1], g.kernel**2 * g.channels)
        self._patches("im2col", g, x.contiguous(), rows)
        return rows

    def _patches(self, name: str, g: Geometry, source: Tensor, target: Tensor) -> None:
        images = (source if name == "im2col" else target).shape[:2].numel()
        getattr(library(source.dtype), name)(
            source.data_ptr(), target.data_ptr(), images, g.height, g.width, g.channels, g.kernel, g.stride,
            g.padding, *g.out,
        )  # fmt: skip

    def _blocks(self, g: Geometry, t: int, n: int) -> list[tuple[slice, slice]]:
        """Cut tasks and images so that the patches of a block stay small; large blocks are slow to allocate."""
        image = g.out[0] * g.out[1] * g.kernel**2 * g.channels
        if t * n * image <= BLOCK:
            return [(slice(0, t), slice(0, n))]
        tasks = max(BLOCK // (n * image), 1)
        images = n if n * image <= BLOCK else max(BLOCK // image, 1)
        return [
            (slice(i, min(i + tasks, t)), slice(j, min(j + images, n)))
            for i in range(0, t, tasks)
            for j in range(0, n, images)
        ]


class OneDNN:
    """torch's own convolution, one task after the other, channels-last: the better way for large ones."""

    def forward(self, g: Geometry, x: Tensor, w: Tensor) -> Tensor:
        step, pad = [g.stride] * 2, [g.padding] * 2
        return self._each(lambda a, b: torch.conv2d(a, b, None, step, pad), x, w)

    def data(self, g: Geometry, gy: Tensor, w: Tensor) -> Tensor:
        like = gy.new_empty(1).expand(gy.shape[1], g.channels, g.height, g.width)
        return self._each(lambda a, b: self._backward(g, a, like, b, [True, False, False])[0], gy, w)

    def weight(self, g: Geometry, x: Tensor, gy: Tensor) -> Tensor:
        like = gy.new_empty(1).expand(gy.shape[-1], g.channels, g.kernel, g.kernel)
        return self._each(lambda a, b: self._backward(g, b, a, like, [False, True, False])[1], x, gy)

    def _backward(self, g: Geometry, gy: Tensor, x: Tensor, w: Tensor, mask: list[bool]) -> Any:
        step, pad = [g.stride] * 2, [g.padding] * 2
        backward = torch.ops.aten.convolution_backward
        return backward(gy, x, w, None, step, pad, [1, 1], False, [0, 0], 1, mask)

    @staticmethod
    def _each(product: Any, a: Tensor, b: Tensor) -> Tensor:
        results = [product(_first(p), _first(q)).permute(0, 2, 3, 1).contiguous() for p, q in zip(a, b, strict=True)]
        return results[0][None] if len(results) == 1 else torch.stack(results)


def _first(x: Tensor) -> Tensor:
    """View (N, H, W, C) as (N, C, H, W) with strides that say channels-last, also where C is 1."""
    n, h, w, c = x.shape
    return x.contiguous().as_strided((n, c, h, w), (h * w * c, 1, w * c, c))


def _shared(w: Tensor) -> bool:
    return w.stride(0) == 0 and w.shape[0] > 1


GEMM, ONEDNN = Gemm(), OneDNN()


class BySize:
    """The faster of both for each product and size: what ``benchmarks/conv_products.py`` measured.

    oneDNN has a price for each call, and computes forward and data products at 90 % of the peak; the patches of GEMM
    cost most where few filters share them or kernels are large.
    """

    def forward(self, g: Geometry, x: Tensor, w: Tensor) -> Tensor:
        gflop = 0.012 if g.channels <= 3 else 0.005 if g.kernel == 5 else 0.02
        return self._pick(g, x.shape[1], w.shape[1], gflop).forward(g, x, w)

    def data(self, g: Geometry, gy: Tensor, w: Tensor) -> Tensor:
        few_filters = g.kernel > 1 and w.shape[1] < 48
        if g.stride == 1:
            gflop = 0.6 if g.kernel == 1 else 0.02 if few_filters else 0.04
        else:
            gflop = 0.1 if few_filters else 0.2
        return self._pick(g, gy.shape[1], w.shape[1], gflop).data(g, gy, w)

    def weight(self, g: Geometry, x: Tensor, gy: Tensor) -> Tensor:
        patches_dominate = g.kernel == 5 and g.channels > 3 and (g.stride == 1 or gy.shape[-1] < 48)
        return self._pick(g, gy.shape[1], gy.shape[-1], 0.01 if patches_dominate else 1e9).weight(g, x, gy)

    @staticmethod
    def _pick(g: Geometry, images: int, filters: int, gflop: float) -> Products:
        task = 2e-9 * images * g.out[0] * g.out[1] * filters * g.kernel**2 * g.channels
        return ONEDNN if task > gflop else GEMM


BY_SIZE = BySize()


def convolve(x: Tensor, w: Tensor, stride: int, products: Products = BY_SIZE) -> Tensor:
    """Convolve images (T, N, H, W, C) with each task's weights (T, O, k, k, C).

    A 1×1 kernel with a stride sees every stride-th pixel only. oneDNN must not be given it: with fewer than eight
    channels its kernel writes past its workspace (oneDNN issue 6035: a crash, or wrong gradients).
    """
    if w.shape[2] == 1 and stride > 1:
        x, stride = x[:, :, ::stride, ::stride], 1
    _, _, height, width, channels = x.shape
    g = Geometry(height, width, channels, w.shape[2], stride)
    y: Tensor = apply(_Forward, x, w, g, products)
    return y


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, g: Geometry, p: Products) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.rest = (g, p)
        return p.forward(g, x, w)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        gx = apply(_Data, gy, w, *ctx.rest) if ctx.needs_input_grad[0] else None
        gw = apply(_Weight, x, gy, *ctx.rest) if ctx.needs_input_grad[1] else None
        return gx, gw, None, None


class _Data(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gy: Tensor, w: Tensor, g: Geometry, p: Products) -> Tensor:
        ctx.save_for_backward(gy, w)
        ctx.rest = (g, p)
        return p.data(g, gy, w)

    @staticmethod
    def backward(ctx: Any, cx: Tensor) -> tuple[Tensor | None, ...]:
        gy, w = ctx.saved_tensors
        cgy = apply(_Forward, cx, w, *ctx.rest) if ctx.needs_input_grad[0] else None
        cw = apply(_Weight, cx, gy, *ctx.rest) if ctx.needs_input_grad[1] else None
        return cgy, cw, None, None


class _Weight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gy: Tensor, g: Geometry, p: Products) -> Tensor:
        ctx.save_for_backward(x, gy)
        ctx.rest = (g, p)
        return p.weight(g, x, gy)

    @staticmethod
    def backward(ctx: Any, cw: Tensor) -> tuple[Tensor | None, ...]:
        x, gy = ctx.saved_tensors
        cx = apply(_Data, gy, cw, *ctx.rest) if ctx.needs_input_grad[0] else None
        cgy = apply(_Forward, x, cw, *ctx.rest) if ctx.needs_input_grad[1] else None
        return cx, cgy, None, None
