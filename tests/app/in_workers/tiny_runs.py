"""Settings of whole runs that take seconds, and pictures for a task of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TINY: dict[str, Any] = {
    "space.base_width": 4,
    "task.n_way": 3,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "search.tasks": 2,
    "search.pool": 4,
    "search.n_query": 2,
    "search.final_tasks": 2,
    "strategy.population": 4,
    "strategy.iterations": 1,
    "retrain.epochs": 1,
    "retrain.iterations": 1,
    "retrain.tasks": 1,
    "evaluate.tasks": 2,
    "evaluate.n_query": 2,
}
MORE_CLASSES: dict[str, Any] = {**TINY, "task.n_way": 5, "meta_train.n_way": 10, "meta_train.k_shot": 2}
"""For learners that may train on tasks of more classes than those of the test."""


def draw(root: Path, classes: int, shots: int) -> Path:
    """Draw a bar of each class at a place of its own."""
    for label in range(classes):
        (root / f"bar {label}").mkdir(parents=True)
        for i in range(shots):
            paper = np.random.default_rng((label, i)).integers(0, 60, (16, 16), dtype=np.uint8)
            paper[:, 2 * label : 2 * label + 2] = 255
            Image.fromarray(paper).save(root / f"bar {label}" / f"{i}.png")
    return root
