"""Running statistics of the normalisations, which the outer step moves towards those of a meta-batch."""

from __future__ import annotations

import torch

from hnas.learner import Gradient, State

MOMENTUM = 0.1  # torch's default


def update_statistics(state: State, gradient: Gradient) -> None:
    """Move the running statistics of channels that some task had towards this meta-batch's, in place.

    ``count/<layer>`` (C,) counts those tasks: architectures of several widths may share a meta-batch.
    """
    for name in [n for n in gradient if n.startswith("stats/")]:
        count = gradient[name.replace("stats/", "count/").rpartition(".")[0]]
        batch = (gradient[name] / count).to(state[name].dtype)
        state[name].copy_(torch.where(count > 0, torch.lerp(state[name], batch, MOMENTUM), state[name]))
