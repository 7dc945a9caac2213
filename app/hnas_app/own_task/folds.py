"""Tasks made of one: some labelled images of each class are held out, and classified by a network that saw the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hnas.episode import Episodes

if TYPE_CHECKING:
    from torch import Tensor

MOST_SHOTS = 10
"""With more labelled images of a class than this, a fold holds out a fifth of them; else one."""
FIFTH = 5


def n_folds(k_shot: int) -> int:
    """Return the number of folds, which hold out each image once; images that five do not divide are never held out."""
    return k_shot if k_shot <= MOST_SHOTS else FIFTH


def folds(task: Episodes, n_way: int, repeats: int = 1) -> Episodes:
    """Return ``repeats`` times `n_folds` tasks of one task (a batch of one, with more than one image of a class).

    Each fold holds out equally many images of each class, so the folds have one shape and their classes stay balanced.
    A repetition combines the held-out images of the classes anew, as far as there are other combinations.
    """
    images = task.support_x[0].view(n_way, -1, *task.support_x.shape[2:])  # (class, shot, C, H, W)
    labels = task.support_y[0].view(n_way, -1)
    k_shot = images.shape[1]
    count = n_folds(k_shot)
    if count < 2:
        raise ValueError("one image of a class cannot be held out: nothing would be left to adapt to")
    each = k_shot // count
    support, query = [], []
    for repeat in range(repeats):
        for fold in range(count):
            out = [range((b := (fold + repeat * c) % count) * each, (b + 1) * each) for c in range(n_way)]
            query.append([[i for i in range(k_shot) if i in out[c]] for c in range(n_way)])
            support.append([[i for i in range(k_shot) if i not in out[c]] for c in range(n_way)])
    return _episodes(images, labels, support, query)


def _episodes(images: Tensor, labels: Tensor, support: list[list[list[int]]], query: list[list[list[int]]]) -> Episodes:
    """Stack the images of each class in each fold, given as (fold, class, images)."""
    import torch

    classes = torch.arange(len(images))[:, None]
    parts = [torch.tensor(part) for part in (support, query)]  # (fold, class, image)
    (support_x, query_x), (support_y, query_y) = (
        [tensor[classes, part].flatten(1, 2) for part in parts] for tensor in (images, labels)
    )
    return Episodes(support_x=support_x, support_y=support_y, query_x=query_x, query_y=query_y)
