"""Draw tasks: their classes, their images, and the tensors made of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError, first_few
from hnas.task_source import SPLITS, Split

if TYPE_CHECKING:
    from torch import Tensor

Indices = NDArray[np.int64]


def draw_distinct(generator: np.random.Generator, rows: int, population: int | Indices, count: int) -> Indices:
    """Draw ``count`` distinct numbers below ``population`` in random order, for each of ``rows``: (rows, count).

    ``population`` may differ from row to row. Floyd's algorithm gives every subset the same chance, however large the
    population; shuffling gives every order the same chance.
    """
    if not count:
        return np.empty((rows, 0), np.int64)
    last = (population - count) + np.arange(count)[:, None]
    candidates = generator.integers(np.broadcast_to(last + 1, (count, rows)))
    firsts = np.broadcast_to(last[0], rows).tolist()
    drawn = [_floyd(own, first) for own, first in zip(candidates.T.tolist(), firsts, strict=True)]
    return generator.permuted(np.array(drawn).reshape(rows, count), axis=1)


def _floyd(candidates: Sequence[int], last: int) -> list[int]:
    """Return one row: if a number is taken already, the i-th candidate becomes ``last`` + i."""
    drawn: dict[int, None] = {}
    for i, candidate in enumerate(candidates):
        drawn[candidate if candidate not in drawn else last + i] = None
    return list(drawn)


def draw_classes(generator: np.random.Generator, n_classes: int, spec: EpisodeSpec, what: str) -> Indices:
    """Draw the classes of a task: (n_way,). ``what`` names the split in the `DataError`."""
    if spec.n_way > n_classes:
        raise DataError(
            f"{what} has {n_classes} classes, a {spec.n_way}-way task needs {spec.n_way}",
            hint=f"choose task.n_way of at most {n_classes}",
        )
    classes: Indices = draw_distinct(generator, 1, n_classes, spec.n_way)[0]
    return classes


def draw_images(
    generator: np.random.Generator, n_images: int | Indices, spec: EpisodeSpec, what: str
) -> tuple[Indices, Indices]:
    """Draw support and query images for every class of a task, out of its ``n_images``.

    ``n_images`` is one number for all, or (n_way,). Returns (n_way, k_shot) and (n_way, n_query), no image twice for a
    class.
    """
    count = spec.k_shot + spec.n_query
    require_images(n_images, spec, what)
    drawn = draw_distinct(generator, spec.n_way, n_images, count)
    return drawn[:, : spec.k_shot], drawn[:, spec.k_shot :]


def require_images(n_images: int | Indices, spec: EpisodeSpec, what: str, names: Sequence[str] = ()) -> None:
    """Raise `DataError` if a class has fewer images than a task takes of it; ``names`` are those of the classes."""
    count = spec.k_shot + spec.n_query
    fewest = int(np.min(n_images))
    if count <= fewest:
        return
    found = f"{fewest} images a class"
    if names and fewest < int(np.max(n_images)):
        few = [f"{name} ({n})" for name, n in zip(names, np.asarray(n_images).tolist(), strict=True) if n < count]
        found = f"{len(few)} of {len(names)} classes with too few images: {first_few(few)}"
    raise DataError(
        f"{what} has {found}; {spec.k_shot} support and {spec.n_query} query images need {count}",
        hint=f"with {spec.k_shot} support images choose n_query of at most {fewest - spec.k_shot}"
        if spec.k_shot < fewest
        else f"choose task.k_shot below {fewest}",
    )


def random_split(sizes: Mapping[Split, int], split: Split, seed: int) -> list[int]:
    """Return the sorted indices of a split's classes: all are shuffled, and dealt out in the order of `SPLITS`.

    So a split depends on the seed and the sizes, not on the images of the classes.
    """
    order = np.random.default_rng(seed).permutation(sum(sizes.values()))
    start = sum(sizes[s] for s in SPLITS[: SPLITS.index(split)])
    return sorted(order[start : start + sizes[split]].tolist())


@frozen(kw_only=True, eq=False)
class Drawn:
    """The classes and images of T tasks. Images are numbers within their class."""

    classes: Indices  # (T, n_way)
    support: Indices  # (T, n_way, k_shot)
    query: Indices  # (T, n_way, n_query)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def images(self) -> Indices:
        """All images' numbers in the order of `assemble`: all tasks' support images, then their query images."""
        return np.concatenate([self.support.ravel(), self.query.ravel()])

    def each_image(self, of_class: Indices) -> Indices:
        """Repeat the value of each class (T, n_way) for its images, in the order of `images`."""
        return np.concatenate([np.repeat(of_class, drawn.shape[2]) for drawn in (self.support, self.query)])


def draw_tasks(
    generators: Sequence[np.random.Generator],
    n_classes: int,
    n_images: int | Indices,
    spec: EpisodeSpec,
    what: str,
    names: Sequence[str] = (),
) -> Drawn:
    """Draw one task from each generator.

    ``n_images`` is one number for all, or (n_classes,); ``names`` are those of the classes, for messages. Raises
    `DataError` as `draw_classes` does, and if any class has too few images, drawn or not.
    """
    drawn = []
    if spec.n_way <= n_classes:
        require_images(n_images, spec, what, names)
    for generator in generators:
        classes = draw_classes(generator, n_classes, spec, what)
        of_class = n_images if isinstance(n_images, int) else n_images[classes]
        drawn.append((classes, *draw_images(generator, of_class, spec, what)))
    classes, support, query = map(np.stack, zip(*drawn, strict=True))
    return Drawn(classes=classes, support=support, query=query)


def pixels(images: NDArray[np.uint8]) -> Tensor:
    """Return images (N, H, W) or (N, H, W, C) as float32 (N, C, H, W) in 0…1, in one pass over them."""
    import torch

    channels_first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.multiply(channels_first, np.float32(1 / 255), order="C", dtype=np.float32))


def assemble(images: Tensor, n_tasks: int, spec: EpisodeSpec, classes: Indices | None = None) -> Episodes:
    """Make episodes of ``images`` (N, C, H, W) without a copy, with the ids of their ``classes`` (n_tasks, n_way).

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
        classes=None if classes is None else torch.from_numpy(classes),
    )


def _labels(n_tasks: int, n_way: int, each: int) -> Indices:
    """Return the labels (n_tasks, n_way * each) of images that stand class by class."""
    return np.tile(np.arange(n_way, dtype=np.int64).repeat(each), (n_tasks, 1))
