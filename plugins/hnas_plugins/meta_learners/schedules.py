"""The schedules of MAML++: multi-step loss weights, derivative order, outer learning rate."""

from __future__ import annotations

import math

from hnas import Progress
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions


def loss_weights(options: MAMLPlusPlusOptions, epoch: int) -> list[float]:
    """Return the weight of the query loss after each inner step; they sum to 1.

    With N steps each weight starts at 1/N. Every epoch each but the last loses (1/N)/msl_epochs, down to 0.03/N, and
    the last one gains as much. From ``msl_epochs`` on only the last step counts, as in MAML++.
    """
    steps = options.inner_steps
    if not options.multi_step_loss or epoch >= options.msl_epochs:
        return [0.0] * (steps - 1) + [1.0]
    each = max(1.0 / steps - epoch / steps / options.msl_epochs, 0.03 / steps)
    return [each] * (steps - 1) + [1.0 - each * (steps - 1)]


def is_second_order(options: MAMLPlusPlusOptions, epoch: int) -> bool:
    """Return whether the meta-gradient of this epoch goes through the inner loop's gradients."""
    annealing = options.derivative_order_annealing and epoch < options.first_order_epochs
    return options.second_order and not annealing


def outer_rate(options: MAMLPlusPlusOptions, progress: Progress) -> float:
    """Return the outer learning rate: from ``meta_lr`` down to ``meta_lr_end`` along half a cosine, or constant.

    Both are multiplied by the phase's ``rate_factor``.
    """
    if not options.cosine_annealing:
        return progress.rate_factor * options.meta_lr
    done = min(progress.iteration / max(progress.total, 1), 1.0)
    rate = options.meta_lr_end + (options.meta_lr - options.meta_lr_end) * (1 + math.cos(math.pi * done)) / 2
    return progress.rate_factor * rate
