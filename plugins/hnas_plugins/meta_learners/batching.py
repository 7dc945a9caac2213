"""Adapt tasks as one batch if they are bound by Python rather than by arithmetic; on a GPU always."""

from __future__ import annotations

from attrs import frozen
from torch import Tensor

from hnas import Architecture, Episodes, SuperNet
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions

TASKS_AT_ONCE = 8
"""In a batch of so many, a small task takes 1.1 times as long as in one of 16; in a batch of 2, 1.7 times."""

PART_BYTES = 8 << 20
"""Of the images that pass through a network at once: its maps take several times as much memory."""


def parts(x: Tensor) -> list[slice]:
    """Divide tasks with images (T, N, C, H, W) for a pass without gradient; only large images are divided."""
    tasks = len(x)
    each = max(1, PART_BYTES // x[0].nbytes) if x.is_cpu else tasks
    return [slice(first, min(first + each, tasks)) for first in range(0, tasks, each)]


@frozen
class Batching:
    """Decides by the work of a task's inner loop, against ``batch_below_gflop``."""

    options: MAMLPlusPlusOptions

    def groups(self, supernet: SuperNet, arch: Architecture, episodes: Episodes) -> list[Episodes]:
        """Return the tasks as one batch, or each alone."""
        if self.is_one(supernet, arch, episodes):
            return [episodes]
        return [episodes[t : t + 1] for t in range(len(episodes))]

    def is_one(self, supernet: SuperNet, arch: Architecture, episodes: Episodes) -> bool:
        """Return whether tasks are adapted as one batch."""
        if not episodes.support_x.is_cpu:
            return supernet.task_batched  # one task never keeps a GPU busy
        return self._is_small(supernet, arch, episodes.support_x.shape[1])

    def tasks_at_once(self, supernet: SuperNet, arch: Architecture, n_support: int) -> int:
        """Return the best number of tasks of ``n_support`` images to score at once."""
        return TASKS_AT_ONCE if self._is_small(supernet, arch, n_support) else 1

    def _is_small(self, supernet: SuperNet, arch: Architecture, n_support: int) -> bool:
        """Return whether a task's inner loop is bound by Python, not by arithmetic."""
        if not supernet.task_batched:
            return False
        # forward, and the gradients of weights and of inputs: 3 products of 2 FLOP a MAC
        gflop = 6e-9 * n_support * self.options.inner_steps * supernet.macs(arch)
        return gflop < self.options.batch_below_gflop
