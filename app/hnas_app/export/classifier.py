"""A network that was adapted to one task, with its statistics fixed, ready for export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from hnas.architecture import Architecture
from hnas.episode import Episodes
from hnas.learner import MetaLearner, State
from hnas.supernet import NormStats, Params, SuperNet
from hnas_app.training.fixed_norm import support_statistics
from hnas_app.training.setup.returned import adapted_weights
from hnas_app.training.setup.setup import Setup

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True, eq=False)
class Classifier:
    """Classifies each image alone: the others in a batch change nothing."""

    learner: MetaLearner
    supernet: SuperNet
    arch: Architecture
    params: Params  # what `MetaLearner.adapt` returned, of one task: (1, …)
    stats: NormStats

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (N, class) of images (N, C, H, W)."""
        return self.learner.logits(self.supernet, self.params, x[None], self.arch, stats=self.stats)[0]


def classifier(setup: Setup, state: State, arch: Architecture, task: Episodes) -> Classifier:
    """Adapt ``arch`` to the support images of a task, a batch of one, and fix its statistics to theirs."""
    found = setup.learner.adapt(setup.supernet, state, task.to(setup.accelerator), arch)
    adapted = adapted_weights(setup.learner, found, len(task))
    stats = support_statistics(setup.learner, setup.supernet, adapted, task.support_x.to(setup.accelerator), arch)
    return Classifier(
        learner=setup.learner,
        supernet=setup.supernet,
        arch=arch,
        params={k: v.detach().cpu().contiguous() for k, v in adapted.items()},
        stats=NormStats("apply", *({k: v.cpu() for k, v in part.items()} for part in (stats.mean, stats.var))),
    )
