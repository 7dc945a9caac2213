"""How a learner's state crosses to the workers and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hnas.learner import State
from hnas_app.training.setup.setup import Setup


def to_workers(state: State) -> dict[str, Any]:
    """Return the state as arrays, which cross a pipe faster than tensors, without what only the driver needs."""
    return {k: v.numpy() for k, v in state.items() if not k.startswith("outer/")}


def from_driver(arrays: Mapping[str, Any], setup: Setup) -> State:
    """Return the state that `to_workers` sent, as tensors on the set-up's accelerator."""
    import torch

    return {k: torch.from_numpy(v).to(setup.accelerator) for k, v in arrays.items()}
