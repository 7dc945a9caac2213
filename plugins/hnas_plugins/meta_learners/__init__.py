"""The built-in meta-learners."""

from hnas import Plugin, hookimpl
from hnas_plugins.metric_learners import METRIC_LEARNERS
from hnas_plugins.mixture_learners import MIXTURE_LEARNERS


@hookimpl
def hnas_meta_learners() -> list[Plugin]:
    return [
        Plugin(
            name="maml++",
            summary="MAML++ with its six parts, each an option",
            factory="hnas_plugins.meta_learners.maml:MAML",
            options="hnas_plugins.meta_learners.options:MAMLPlusPlusOptions",
        ),
        Plugin(
            name="maml",
            summary="MAML: the same engine with all six parts off",
            factory="hnas_plugins.meta_learners.maml:MAML",
            options="hnas_plugins.meta_learners.options:MAMLOptions",
        ),
        Plugin(
            name="meta-sgd",
            summary="Meta-SGD: MAML with a learnt rate for every weight",
            factory="hnas_plugins.meta_learners.meta_sgd:meta_sgd",
            options="hnas_plugins.meta_learners.options:MetaSGDOptions",
        ),
        Plugin(
            name="alfa",
            summary="ALFA: MAML whose rates and weight decay a network generates in each step; with L2F if wanted",
            factory="hnas_plugins.meta_learners.alfa:alfa",
            options="hnas_plugins.meta_learners.options:ALFAOptions",
        ),
        Plugin(
            name="l2f",
            summary="L2F: MAML that attenuates the weights that a task starts from",
            factory="hnas_plugins.meta_learners.alfa:alfa",
            options="hnas_plugins.meta_learners.options:L2FOptions",
        ),
        Plugin(
            name="anil",
            summary="ANIL: MAML that adapts the classifier only",
            factory="hnas_plugins.meta_learners.anil:anil",
            options="hnas_plugins.meta_learners.options:ANILOptions",
        ),
        Plugin(
            name="reptile",
            summary="Reptile: first-order, towards the weights that an inner loop on all images of a task ends at",
            factory="hnas_plugins.meta_learners.reptile:reptile",
            options="hnas_plugins.meta_learners.reptile:ReptileOptions",
        ),
        *METRIC_LEARNERS,
        *MIXTURE_LEARNERS,
    ]
