"""Which tasks are adapted as one batch: those that are bound by Python rather than by arithmetic, and all on a GPU."""

from __future__ import annotations

from attrs import frozen

from hnas import Architecture, Episodes, SuperNet
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions

TASKS_AT_ONCE = 8
"""Small tasks that are scored as one batch take 1.1 times as long each as 16 do; 2 take 1.7 times as long."""


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
        """Decide whether tasks are adapted as one batch."""
        if not episodes.support_x.is_cpu:
            return supernet.task_batched  # one task never keeps a GPU busy
        return self._is_small(supernet, arch, episodes.support_x.shape[1])

    def tasks_at_once(self, supernet: SuperNet, arch: Architecture, n_support: int) -> int:
        """Return how many tasks of ``n_support`` images are scored best at once."""
        return TASKS_AT_ONCE if self._is_small(supernet, arch, n_support) else 1

    def _is_small(self, supernet: SuperNet, arch: Architecture, n_support: int) -> bool:
        """Tell whether a task's inner loop is bound by Python, not by arithmetic."""
        if not supernet.task_batched:
            return False
        # forward, and the gradients of weights and of inputs: 3 products of 2 FLOP a MAC
        gflop = 6e-9 * n_support * self.options.inner_steps * supernet.macs(arch)
        return gflop < self.options.batch_below_gflop
