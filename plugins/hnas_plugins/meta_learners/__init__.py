"""The built-in meta-learners."""

from hnas import Plugin, hookimpl
from hnas_plugins.metric_learners import METRIC_LEARNERS


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
        *METRIC_LEARNERS,
    ]
