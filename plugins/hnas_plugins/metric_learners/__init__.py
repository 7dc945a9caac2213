"""The built-in learners that compare features: their descriptors, which `hnas_plugins.meta_learners` registers."""

from hnas import Plugin

METRIC_LEARNERS = [
    Plugin(
        name="prototypical",
        summary="prototypical networks: the class whose mean of features is nearest",
        factory="hnas_plugins.metric_learners.prototypical:prototypical",
        options="hnas_plugins.metric_learners.options:ComparingOptions",
    ),
]
