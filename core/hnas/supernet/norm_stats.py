"""Statistics of the normalisation layers: collected in one forward pass, or applied in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import define, field

if TYPE_CHECKING:
    from torch import Tensor


@define
class NormStats:
    """Batch statistics of the normalisation layers of one forward pass, by layer.

    A layer's name is that of its parameters up to the last dot. Its channels are the first ones of the super-net's
    layer. ``mode="collect"``: the network normalises by batch statistics and writes each layer's mean and (biased)
    variance, detached. ``mode="apply"``: it normalises by the statistics given here.
    """

    mode: Literal["collect", "apply"]
    mean: dict[str, Tensor] = field(factory=dict)  # (C,), or (T, C) for task-batched passes
    var: dict[str, Tensor] = field(factory=dict)

    def of_task(self, task: int) -> NormStats:
        """Return the statistics of one task of a batch, or an empty collection for it."""
        if self.mode == "collect":
            return NormStats("collect")
        return NormStats("apply", *({k: v[task] for k, v in part.items()} for part in (self.mean, self.var)))

    def append_task(self, one: NormStats) -> None:
        """Append the statistics collected for one task to those of the earlier tasks."""
        import torch

        for mine, other in ((self.mean, one.mean), (self.var, one.var)):
            for name, value in other.items():
                mine[name] = torch.cat([mine[name], value[None]]) if name in mine else value[None]
