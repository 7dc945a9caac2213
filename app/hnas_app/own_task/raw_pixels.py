"""What needs no network: pictures classified by their raw pixels alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hnas.toolkit.pictures import PictureTask

if TYPE_CHECKING:
    import torch

Labels = NDArray[np.int64]
ITERATIONS = 500
"""Of L-BFGS at most; a few dozen are enough."""


def class_mean(task: PictureTask) -> Labels:
    """Give each query picture the class whose mean labelled picture is nearest."""
    return _nearest(np.stack([x.mean(0).ravel() for x in task.support]), _query(task))


def nearest_neighbour(task: PictureTask) -> Labels:
    """Give each query picture the class of the nearest labelled picture."""
    owners = np.repeat(np.arange(task.n_way), task.shots)
    found: Labels = owners[_nearest(_support(task), _query(task))]
    return found


def logistic_regression(task: PictureTask) -> Labels:
    """Classify the query pictures by logistic regression: summed cross-entropy plus half the weights' squared norm.

    The best weights are a combination of the labelled pictures, so they are looked for in the space that these span.
    """
    import torch

    x, y = (
        torch.from_numpy(_support(task)).double(),
        torch.arange(task.n_way).repeat_interleave(torch.tensor(task.shots)),
    )
    centre = x.mean(0)
    axes = torch.linalg.svd(x - centre, full_matrices=False).Vh
    seen = (x - centre) @ axes.T
    weights = torch.zeros((task.n_way, len(axes)), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(task.n_way, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = torch.nn.functional.linear(seen, weights, bias)
        found = torch.nn.functional.cross_entropy(logits, y, reduction="sum") + weights.square().sum() / 2
        found.backward()  # type: ignore[no-untyped-call]
        return found

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    asked = (torch.from_numpy(_query(task)).double() - centre) @ axes.T
    found: Labels = torch.nn.functional.linear(asked, weights, bias).argmax(-1).numpy()
    return found


RIVALS: dict[str, Callable[[PictureTask], Labels]] = {
    "nearest class mean": class_mean,
    "nearest neighbour": nearest_neighbour,
    "logistic regression": logistic_regression,
}
"""By the names that are printed."""


def _support(task: PictureTask) -> NDArray[np.float32]:
    return np.concatenate(task.support).reshape(sum(task.shots), -1)


def _query(task: PictureTask) -> NDArray[np.float32]:
    return np.concatenate(task.query).reshape(task.n_query, -1)


def _nearest(known: NDArray[np.float32], asked: NDArray[np.float32]) -> Labels:
    """Return which of ``known`` (N, D) is nearest to each of ``asked``; |a|² is the same for all of them."""
    distances = (known.astype(np.float64) ** 2).sum(1) - 2 * asked.astype(np.float64) @ known.T.astype(np.float64)
    found: Labels = distances.argmin(1)
    return found
