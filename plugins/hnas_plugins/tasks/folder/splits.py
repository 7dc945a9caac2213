"""Which classes of a folder are for training, validation and test, where the folder itself does not say."""

from __future__ import annotations

import numpy as np

from hnas.task_source import SPLITS, Split

SHARES: dict[Split, float] = {"train": 0.64, "validation": 0.16, "test": 0.20}
"""Of all classes, as in Mini-ImageNet."""
USUAL_WAY = 5
"""How many classes each split gets before the shares count: as many as the usual task needs."""
FEWEST = 2 * len(SPLITS)
"""Classes without which a split could not have two of them, the least that a task can tell apart."""


def split_sizes(n_classes: int) -> dict[Split, int]:
    """Return how many of ``n_classes``, at least `FEWEST`, each split gets: its share, and at least `USUAL_WAY`.

    Where there are too few for that, each gets a third, and training what is left over.
    """
    at_least = min(USUAL_WAY, n_classes // len(SPLITS))
    validation, test = (max(at_least, round(SHARES[s] * n_classes)) for s in SPLITS[1:])
    return {"train": n_classes - validation - test, "validation": validation, "test": test}


def random_split(n_classes: int, split: Split, seed: int) -> list[int]:
    """Return, sorted, the indices of the classes of a split: all classes, in the order of their names, are shuffled.

    So the split depends on the seed and on which classes there are, and not on the pictures in them.
    """
    sizes = split_sizes(n_classes)
    order = np.random.default_rng(seed).permutation(n_classes)
    start = sum(sizes[s] for s in SPLITS[: SPLITS.index(split)])
    return sorted(order[start : start + sizes[split]].tolist())
