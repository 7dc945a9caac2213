"""Drawing tasks: which classes, which images, and the tensors that they become. Vectorised over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Indices = NDArray[np.int64]
FEW_ROWS = 32
"""Up to so many rows plain Python is faster than vector operations over them; the numbers drawn are the same."""


def draw_distinct(generator: np.random.Generator, rows: int, population: int | Indices, count: int) -> Indices:
    """Draw ``count`` distinct numbers below ``population`` in random order, for each of ``rows``: (rows, count).

    ``population`` may differ from row to row. Floyd's algorithm gives every subset the same chance in ``count`` vector
    operations, however large the population; shuffling gives every order the same chance.
    """
    if not count:
        return np.empty((rows, 0), np.int64)
    last = (population - count) + np.arange(count)[:, None]
    candidates = generator.integers(np.broadcast_to(last + 1, (count, rows)))
    if rows <= FEW_ROWS:
        firsts = np.broadcast_to(last[0], rows).tolist()
        drawn = np.array([_floyd(own, first) for own, first in zip(candidates.T.tolist(), firsts, strict=True)])
        drawn = drawn.reshape(rows, count)
    else:
        drawn = np.empty((rows, count), np.int64)
        for i in range(count):
            taken = (drawn[:, :i] == candidates[i][:, None]).any(axis=1)
            drawn[:, i] = np.where(taken, last[i], candidates[i])
    return generator.permuted(drawn, axis=1)


def _floyd(candidates: Sequence[int], last: int) -> list[int]:
    """Do what the vector operations do, for one row: where a number is taken, the i-th takes ``last`` + i."""
    drawn: dict[int, None] = {}
    for i, candidate in enumerate(candidates):
        drawn[candidate if candidate not in drawn else last + i] = None
    return list(drawn)


def draw_classes(generator: np.random.Generator, n_tasks: int, n_classes: int, spec: EpisodeSpec, what: str) -> Indices:
    """Draw the classes of each task: (n_tasks, n_way). ``what`` names the split in the `DataError`."""
    if spec.n_way > n_classes:
        raise DataError(
            f"{what} has {n_classes} classes, a {spec.n_way}-way task needs {spec.n_way}",
            hint=f"choose task.n_way of at most {n_classes}",
        )
    return draw_distinct(generator, n_tasks, n_classes, spec.n_way)


def draw_images(
    generator: np.random.Generator, n_tasks: int, n_images: int | Indices, spec: EpisodeSpec, what: str
) -> tuple[Indices, Indices]:
    """Draw, for every class of every task, its support and query images out of the ``n_images`` that it has.

    ``n_images`` is one number for all, or (n_tasks, n_way). Returns (n_tasks, n_way, k_shot) and (n_tasks, n_way,
    n_query), no image twice for a class of a task.
    """
    count = spec.k_shot + spec.n_query
    fewest = int(np.min(n_images))
    if count > fewest:
        raise DataError(
            f"{what} has {fewest} images a class; {spec.k_shot} support and {spec.n_query} query images need {count}",
            hint=f"with {spec.k_shot} support images choose n_query of at most {fewest - spec.k_shot}"
            if spec.k_shot < fewest
            else f"choose task.k_shot below {fewest}",
        )
    population = n_images if isinstance(n_images, int) else n_images.reshape(-1)
    drawn = draw_distinct(generator, n_tasks * spec.n_way, population, count).reshape(n_tasks, spec.n_way, count)
    return drawn[:, :, : spec.k_shot], drawn[:, :, spec.k_shot :]


@frozen(kw_only=True, eq=False)
class Drawn:
    """Which classes and images T tasks show. Images are numbers within their class."""

    classes: Indices  # (T, n_way)
    support: Indices  # (T, n_way, k_shot)
    query: Indices  # (T, n_way, n_query)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def images(self) -> Indices:
        """All images' numbers, as `assemble` wants them: all tasks' support images, then their query images."""
        return np.concatenate([self.support.ravel(), self.query.ravel()])

    def each_image(self, of_class: Indices) -> Indices:
        """Repeat what is known of each class (T, n_way) for its images, in the order of `images`."""
        return np.concatenate([np.repeat(of_class, drawn.shape[2]) for drawn in (self.support, self.query)])


def draw_tasks(
    generators: Sequence[np.random.Generator],
    n_tasks: int,
    n_classes: int,
    n_images: int | Indices,
    spec: EpisodeSpec,
    what: str,
) -> Drawn:
    """Draw ``n_tasks`` tasks from each of ``generators``; one's do not depend on the others.

    ``n_images`` is what every class has, or (n_classes,). Raises `DataError` as `draw_classes` and `draw_images` do.
    """
    drawn = []
    for generator in generators:
        classes = draw_classes(generator, n_tasks, n_classes, spec, what)
        of_class = n_images if isinstance(n_images, int) else n_images[classes]
        drawn.append((classes, *draw_images(generator, n_tasks, of_class, spec, what)))
    classes, support, query = drawn[0] if len(drawn) == 1 else map(np.concatenate, zip(*drawn, strict=True))
    return Drawn(classes=classes, support=support, query=query)


def pixels(images: NDArray[np.uint8]) -> Tensor:
    """Return images (N, H, W) or (N, H, W, C) as float32 (N, C, H, W) in 0…1, in one pass over them."""
    import torch

    channels_first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.multiply(channels_first, np.float32(1 / 255), order="C", dtype=np.float32))


def assemble(images: Tensor, n_tasks: int, spec: EpisodeSpec) -> Episodes:
    """Make episodes, without a copy, of ``images`` (N, C, H, W).

    All tasks' support images come first, then all their query images; within a task they stand class by class.
    """
    import torch

    n_support, n_query = spec.n_way * spec.k_shot, spec.n_way * spec.n_query
    shape = images.shape[1:]
    return Episodes(
        support_x=images[: n_tasks * n_support].view(n_tasks, n_support, *shape),
        support_y=torch.from_numpy(_labels(n_tasks, spec.n_way, spec.k_shot)),
        query_x=images[n_tasks * n_support :].view(n_tasks, n_query, *shape),
        query_y=torch.from_numpy(_labels(n_tasks, spec.n_way, spec.n_query)),
    )


def _labels(n_tasks: int, n_way: int, each: int) -> Indices:
    """Return the labels (n_tasks, n_way * each) of images that stand class by class."""
    return np.tile(np.arange(n_way, dtype=np.int64).repeat(each), (n_tasks, 1))
