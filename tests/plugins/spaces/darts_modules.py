"""DARTS's evaluation network as torch modules, written from its paper and not from the space: a second opinion.

Differs from the authors' code in two points, as the space does: average poolings count zeros beyond the edge, and a
reduction takes odd maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Edges = list[tuple[str, int]]


def bn(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)


def separable(channels: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, channels, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), bn(channels)]


class Halve(nn.Module):
    def __init__(self, given: int, gives: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(given, gives // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(given, gives // 2, 1, stride=2, bias=False)
        self.norm = bn(gives)

    def forward(self, x: Tensor) -> Tensor:
        x = x.relu()
        later = nn.functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(later)], 1))


def operation(name: str, channels: int, stride: int) -> nn.Module:
    match name:
        case "max_pool_3x3":
            return nn.MaxPool2d(3, stride, 1)
        case "avg_pool_3x3":
            return nn.AvgPool2d(3, stride, 1)
        case "skip_connect":
            return nn.Identity() if stride == 1 else Halve(channels, channels)
        case "sep_conv_3x3" | "sep_conv_5x5":
            kernel = int(name[-1])
            return nn.Sequential(*separable(channels, kernel, stride, 1), *separable(channels, kernel, 1, 1))
        case "dil_conv_3x3" | "dil_conv_5x5":
            return nn.Sequential(*separable(channels, int(name[-1]), stride, 2))
    raise ValueError(name)


def convolution(given: int, gives: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, gives, kernel, stride, kernel // 2, bias=False), bn(gives))


class Cell(nn.Module):
    def __init__(self, edges: Edges, given: tuple[int, int], channels: int, reduces: bool, halves: bool) -> None:
        super().__init__()
        first = Halve(given[0], channels) if halves else nn.Sequential(nn.ReLU(), convolution(given[0], channels))
        self.inputs = nn.ModuleList([first, nn.Sequential(nn.ReLU(), convolution(given[1], channels))])
        strides = [2 if reduces and read < 2 else 1 for _, read in edges]
        self.ops = nn.ModuleList(operation(op, channels, s) for (op, _), s in zip(edges, strides, strict=True))
        self.reads = [read for _, read in edges]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        values = [self.inputs[0](a), self.inputs[1](b)]
        for i in range(0, len(self.ops), 2):
            values.append(sum(self.ops[j](values[self.reads[j]]) for j in (i, i + 1)))
        return torch.cat(values[2:], 1)


class Network(nn.Module):
    def __init__(
        self, normal: Edges, reduce: Edges, image: int, n_way: int, channels: int, cells: int, imagenet: bool
    ) -> None:
        super().__init__()
        if imagenet:
            half, full = convolution(image, channels // 2, 3, 2), convolution(channels // 2, channels, 3, 2)
            self.stem = nn.Sequential(half, nn.ReLU(), full)
            self.second = nn.Sequential(nn.ReLU(), convolution(channels, channels, 3, 2))
            given = (channels, channels)
        else:
            self.stem, self.second = convolution(image, 3 * channels, 3), nn.Identity()
            given = (3 * channels, 3 * channels)
        self.cells, halves = nn.ModuleList(), imagenet
        for i in range(cells):
            reduces = i in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduces else 1
            self.cells.append(Cell(reduce if reduces else normal, given, channels, reduces, halves))
            given, halves = (given[1], 4 * channels), reduces
        self.classifier = nn.Linear(given[1], n_way)

    def forward(self, x: Tensor) -> Tensor:
        a = self.stem(x)
        b = self.second(a)
        for cell in self.cells:
            a, b = b, cell(a, b)
        return self.classifier(b.mean((2, 3)))
