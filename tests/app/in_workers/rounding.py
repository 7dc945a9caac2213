"""A learner whose scores depend on their batch in the last digits, as products of matrices do on some processors."""

from __future__ import annotations

from typing import Any

import attrs

from hnas import Architecture, Episodes, Scores, SuperNet
from hnas.learner import State
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions


class Rounding(MAML):
    """MAML++; a loss grows by a millionth for each task of the batch."""

    Options = MAMLPlusPlusOptions

    def score(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, **on: Any) -> Scores:
        found = super().score(supernet, state, episodes, arch, **on)
        return attrs.evolve(found, loss=found.loss * (1 + 1e-6 * len(episodes)))
