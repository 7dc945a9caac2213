"""Reptile: first-order meta-learning without query images (Nichol, Achiam and Schulman, 2018, arXiv:1803.02999)."""

from __future__ import annotations

from functools import partial

import attrs
from attrs import frozen

from hnas.settings import at_least_0, one_of, positive, setting
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLOptions
from hnas_plugins.meta_learners.rules import LayerRates

_later = partial(setting, after_training=True)


@frozen(kw_only=True)
class ReptileOptions:
    """Options of Reptile. It has no others of MAML's: no second order, no loss after each step, no learnt rates."""

    inner_steps: int = setting(5, "gradient steps of the inner loop", positive)
    inner_lr: float = setting(0.1, "learning rate of the inner loop", positive, most=1000)
    meta_lr: float = _later(1e-3, "learning rate of the outer loop (Adam)", positive, most=1000)
    meta_lr_end: float = _later(1e-5, "where cosine annealing ends", at_least_0, most=1000)
    cosine_annealing: bool = _later(
        True, "anneal the outer learning rate over the whole training (the paper: linearly)"
    )
    gradient_clamp: float = _later(0.0, "clamp each component of the meta-gradient to this; 0: not at all", at_least_0)
    rate_scaling: str = setting(
        "none",
        "scale the inner rate by the fan-in of each sub-network's layers: not, for the classifier, also for "
        "convolutions by its square root, or in proportion",
        one_of("none", "head", "sqrt", "linear"),
    )


def reptile(options: ReptileOptions) -> MAML:
    """Return the learner: MAML's inner loop and outer optimiser, with another meta-gradient.

    The meta-gradient of a task is θ - θ', in which θ' are the weights after the inner loop on all of its images. The
    paper's outer step θ + ε (θ' - θ) is plain descent by it; here Adam takes it, which the paper allows. Scale and
    shift of normalisations are not adapted, so they stay as they were drawn: 1 and 0.
    """
    engine = MAMLOptions(**attrs.asdict(options), second_order=False, cuda_graphs=False)
    return MAML(engine, WayBack(engine))


@frozen
class WayBack(LayerRates):
    """MAML's steps at a fixed rate; the meta-gradient is the way back from where they end."""

    interpolates = True
