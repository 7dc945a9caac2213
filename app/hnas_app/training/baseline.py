"""The baseline that results are printed beside: nearest class mean on raw pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from hnas.episode import Episodes


def nearest_class_mean(episodes: Episodes) -> Tensor:
    """Return the accuracy (0–1) on each task of giving a query image the class whose mean support image is nearest.

    Distance is Euclidean over raw pixels; nothing is learnt. The result has shape (T,).
    """
    import torch
    import torch.nn.functional as F

    support, query = episodes.support_x.flatten(2), episodes.query_x.flatten(2)  # (T, n, C*H*W)
    n_way = int(episodes.support_y.max()) + 1
    member = F.one_hot(episodes.support_y, n_way).to(support.dtype)  # (T, n, way)
    means = member.transpose(1, 2) @ support / member.sum(1).unsqueeze(-1)  # (T, way, C*H*W)
    predicted = torch.cdist(query, means).argmin(-1)
    return (predicted == episodes.query_y).to(torch.float32).mean(-1)
