"""The built-in learners by architecture weights: their descriptors, which `hnas_plugins.meta_learners` registers."""

from hnas import Plugin

_HERE = "hnas_plugins.mixture_learners"

MIXTURE_LEARNERS = [
    Plugin(
        name="t-nas",
        summary="T-NAS: MAML on weights and architecture weights of a mixture; proposes what a task decodes to",
        factory=f"{_HERE}.t_nas:t_nas",
        options=f"{_HERE}.options:TNASOptions",
    ),
    Plugin(
        name="t-nas++",
        summary="T-NAS++: the same with the six parts of MAML++",
        factory=f"{_HERE}.t_nas:t_nas",
        options=f"{_HERE}.options:TNASPlusPlusOptions",
    ),
    Plugin(
        name="base",
        summary="BASE: T-NAS whose passes in training mix by samples, of softmax or Gumbel-softmax",
        factory=f"{_HERE}.base:base",
        options=f"{_HERE}.options:BASEOptions",
    ),
    Plugin(
        name="darts",
        summary="DARTS: a search for each task, from fresh weights; nothing is meta-learned",
        factory=f"{_HERE}.darts:darts",
        options=f"{_HERE}.options:DARTSOptions",
    ),
]
