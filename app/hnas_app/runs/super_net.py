"""Whether a run's super-net serves other settings: those that made its network must stay, and its weights must fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hnas.errors import ConfigError, DataError, HnasError, quoted
from hnas_app.config.changes import changed_values
from hnas_app.config.dump import after_training, at_default, flatten, toml_value
from hnas_app.config.load import load_config
from hnas_app.runs.session import chosen, setup_of
from hnas_app.runs.tasks_check import with_record
from hnas_app.training.checkpoint import load_latest
from hnas_app.training.meta_train import PHASE, super_net_gone, super_net_misfit
from hnas_app.training.setup.returned import image_shape

if TYPE_CHECKING:
    from hnas.discovery import Registry
    from hnas.layer import Shape
    from hnas_app.config.schema import Config
    from hnas_app.runs.run_dir import RunDir

MADE_BY = ("space", "learner", "meta_train")
"""Sections that a super-net is made by, but for options that are declared to act after its training."""
N_WAY = "task.n_way"


def check_super_net(run: RunDir, config: Config, registry: Registry) -> None:
    """Raise `ConfigError` unless the super-net of ``run`` is the one that training with ``config`` would begin with.

    Its settings are compared, and then the names, shapes and types of its weights. So another number of classes is
    admitted if no weight depends on it. Raises `DataError` if the super-net is not trained to its end, or if its
    checkpoint is lost or of other settings than the run's.
    """
    if not run.is_done(PHASE):
        raise DataError(
            f"the super-net of {run.path} is not trained to its end, so no other run can start from it",
            hint=f"finish it first: hnas meta-train --run-dir {quoted(run.path)}",
        )
    changed = changed_values(run.config_path, config)
    free = after_training(config)
    wrong = {k: v for k, v in changed.items() if k.partition(".")[0] in MADE_BY and k not in free}
    if any(k.startswith("tasks.") for k in changed):
        wrong |= _other_images(run, config, registry, changed)
    misfit = "" if wrong else _misfit(run, config, registry)
    if N_WAY in changed and (wrong or misfit):
        wrong[N_WAY] = changed[N_WAY]
    if misfit and not wrong:  # other tasks: a classifier may have an output for each class of training
        wrong |= {k: v for k, v in changed.items() if k.startswith("tasks.")}
    if wrong:
        listed = "\n".join(f"{k}: {old!r} in the run, {new!r} now" for k, (old, new) in wrong.items())
        raise ConfigError(
            f"the super-net of {run.path} was trained with other settings:\n{listed}",
            hint=f"leave them out, or train such a super-net: {_command(run, config, wrong)}",
        )
    if misfit:
        raise super_net_misfit(run.path, config.learner.name, misfit)


def _other_images(
    run: RunDir, config: Config, registry: Registry, changed: dict[str, tuple[Any, Any]]
) -> dict[str, tuple[Any, Any]]:
    """Return the changes of the task source and the shapes of its images, if these differ."""
    now = image_shape(chosen("tasks", config, registry))
    try:
        # The file's device is not needed, and may be an object that nobody gave.
        own = load_config(registry, file=run.config_path, env={}, instead=("backend", "strategy"), only_read=True)
        before = image_shape(chosen("tasks", own.config, registry))
    except HnasError:  # its data are no longer here; the colours are still compared, by the weights
        return {}
    if before == now:
        return {}
    return {k: v for k, v in changed.items() if k.startswith("tasks.")} | {"images": (_text(before), _text(now))}


def _misfit(run: RunDir, config: Config, registry: Registry) -> str:
    """Return the first weight that the settings would have and the checkpoint has not, in words; empty if all fit."""
    folder = run.checkpoints / PHASE
    found = load_latest(folder, "state")
    if found is None:
        raise super_net_gone(folder)
    return with_record(setup_of(config, registry), run, config.tasks.name).misfit(found[0])


def _command(run: RunDir, config: Config, wrong: dict[str, tuple[Any, Any]]) -> str:
    """Return the command that trains such a super-net: the run's file, and what must differ."""
    values, usual = flatten(config), at_default(config)
    whole = tuple(k.removesuffix("name") for k in wrong if k.endswith(".name"))
    wanted = {k: v for k, v in values.items() if k in wrong or (k.startswith(whole) and k not in usual)}
    texts = [f"{k}={v if isinstance(v, str) else toml_value(v, k)}" for k, v in wanted.items() if v is not None]
    sets = [f"--set {quoted(text)}" for text in texts]
    return " ".join(["hnas meta-train --config", quoted(run.config_path), *sets])


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
