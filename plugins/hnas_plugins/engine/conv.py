"""Convolutions of many tasks, each with weights of its own, by the C kernels."""

from __future__ import annotations

from attrs import frozen
from torch import Tensor

from hnas_plugins.engine.bilinear import product
from hnas_plugins.engine.native import library


@frozen
class Geometry:
    """The shapes of a convolution: images (H, W, C) to (Ho, Wo, O), zero-padded by half the kernel.

    Its products are those of `hnas_plugins.engine.bilinear`: x (T, N, H, W, C), w (T, O, k, k, C), y (T, N, Ho, Wo, O).
    """

    height: int
    width: int
    channels: int
    filters: int
    kernel: int
    stride: int

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        edge = 2 * (self.kernel // 2) - self.kernel
        return (self.height + edge) // self.stride + 1, (self.width + edge) // self.stride + 1

    def y(self, x: Tensor, w: Tensor) -> Tensor:
        y = x.new_empty((*x.shape[:2], *self.out, self.filters))
        self._call("conv_forward", x.contiguous(), w, y, *_tasks(x, w), strides=w.stride())
        return y

    def x(self, y: Tensor, w: Tensor) -> Tensor:
        x = y.new_empty((*y.shape[:2], self.height, self.width, self.channels))
        self._call("conv_data", y.contiguous(), w, x, *_tasks(y, w), strides=w.stride())
        return x

    def w(self, x: Tensor, y: Tensor) -> Tensor:
        w = x.new_empty((len(x), self.filters, self.kernel, self.kernel, self.channels))
        self._call("conv_weight", x.contiguous(), y.contiguous(), w, *x.shape[:2])
        return w

    def _call(
        self, kernel: str, a: Tensor, b: Tensor, out: Tensor, t: int, n: int, strides: tuple[int, ...] = ()
    ) -> None:
        shapes = (t, n, self.height, self.width, self.channels, self.filters, self.kernel, self.stride, *self.out)
        if getattr(library(a.dtype), kernel)(a.data_ptr(), b.data_ptr(), out.data_ptr(), *shapes, *strides):
            raise MemoryError(f"{kernel}: no memory for its scratch space, images {tuple(a.shape)}")


def convolve(x: Tensor, w: Tensor, stride: int) -> Tensor:
    """Convolve images (T, N, H, W, C) with each task's weights (T, O, k, k, C)."""
    _, _, height, width, channels = x.shape
    return product(Geometry(height, width, channels, w.shape[1], w.shape[2], stride), x, w)


def _tasks(images: Tensor, w: Tensor) -> tuple[int, int]:
    """Return the number of tasks and of images of each. Tasks that share one set of weights are one."""
    tasks, each = images.shape[:2]
    return (1, tasks * each) if w.stride(0) == 0 else (tasks, each)
