"""The outer loop's step: Adam over the flat state, and running statistics."""

from __future__ import annotations

import torch
from torch.optim.adam import adam

from hnas.learner import Gradient, State

MOMENTUM = 0.1  # of running statistics, torch's default


def adam_step(state: State, gradient: Gradient, names: list[str], *, lr: float, n_tasks: int, clamp: float) -> None:
    """Take one Adam step on ``state[names]`` in place with the mean gradient; its moments live in the state.

    A missing gradient counts as zero: the moments decay and the tensor may still move, as with torch's own optimiser if
    only a part of a super-net was used.
    """
    gradients = [gradient[n] / n_tasks if n in gradient else torch.zeros_like(state[n]) for n in names]
    if clamp:
        torch._foreach_clamp_min_(gradients, -clamp)
        torch._foreach_clamp_max_(gradients, clamp)
    with torch.no_grad():
        adam(
            [state[n] for n in names],
            gradients,
            [state[f"outer/mean/{n}"] for n in names],
            [state[f"outer/square/{n}"] for n in names],
            [],
            [state[f"outer/steps/{n}"] for n in names],
            foreach=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def adam_state(state: State, names: list[str]) -> State:
    """Return fresh moments for ``state[names]``."""
    fresh: State = {}
    for name in names:
        fresh[f"outer/mean/{name}"] = torch.zeros_like(state[name])
        fresh[f"outer/square/{name}"] = torch.zeros_like(state[name])
        fresh[f"outer/steps/{name}"] = torch.tensor(0.0)
    return fresh


def update_statistics(state: State, gradient: Gradient) -> None:
    """Move the running statistics of channels that some task had towards this meta-batch's, in place.

    ``count/<layer>`` (C,) counts those tasks: architectures of several widths may share a meta-batch.
    """
    for name in [n for n in gradient if n.startswith("stats/")]:
        count = gradient[name.replace("stats/", "count/").rpartition(".")[0]]
        batch = gradient[name] / count
        state[name].copy_(torch.where(count > 0, torch.lerp(state[name], batch, MOMENTUM), state[name]))
