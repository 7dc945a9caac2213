"""Options of the learners by architecture weights."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from attrs import frozen

from hnas.settings import at_least_0, one_of, positive, setting
from hnas_plugins.meta_learners.options import MAMLOptions, MAMLPlusPlusOptions

_later = partial(setting, after_training=True)


def _arch_lr(default: float) -> Any:
    return setting(default, "inner learning rate of the architecture weights", positive, most=10_000)


@frozen(kw_only=True)
class TNASOptions(MAMLOptions):
    """T-NAS (Lian et al., ICLR 2020): first order, with the rates of its code but for ``inner_lr``, 0.01 there."""

    arch_lr: float = _arch_lr(30.0)
    second_order: bool = _later(False, "differentiate through the inner loop's gradients")


@frozen(kw_only=True)
class TNASPlusPlusOptions(MAMLPlusPlusOptions):
    """T-NAS++: the same with the six parts of MAML++."""

    arch_lr: float = _arch_lr(30.0)


@frozen(kw_only=True)
class BASEOptions(TNASOptions):
    """BASE (Shaw et al., NeurIPS 2019), as far as it relaxes and samples architectures."""

    relaxation: Literal["softmax", "gumbel"] = setting(
        "gumbel",
        "shares of the operations in a pass of training: their softmax, or a sample around it",
        one_of("softmax", "gumbel"),
    )
    temperature: float = setting(
        1.0, "divides architecture weights (and noise) before the softmax; near 0 one operation is all", positive
    )


@frozen(kw_only=True)
class DARTSOptions(MAMLOptions):
    """DARTS (Liu et al., ICLR 2019) for one task, with its first-order approximation."""

    inner_steps: int = setting(50, "steps of a task, on architecture weights and weights in turn, 2 or more", positive)
    arch_lr: float = _arch_lr(3.0)
    meta_lr: float = _later(
        0.0, "learning rate of an outer loop (Adam); 0: nothing is learnt of other tasks, as in the paper", at_least_0
    )
    second_order: bool = _later(False, "differentiate through the inner loop's gradients")
    learned_rates: bool = setting(False, "rates tell which steps are whose, and are not learnt", one_of(False))
    cuda_graphs: bool = _later(False, "steps in turn cannot be recorded on a GPU", one_of(False))
