"""Whether a run's super-net serves other settings: those that made its network must stay, and its weights must fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hnas.errors import ConfigError, DataError, HnasError, quoted
from hnas.toolkit.codec import from_json
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


@frozen(kw_only=True)
class Origin:
    """The super-net of a distribution that a run started from, as its ``run.json`` records it; see `origin_of`."""

    name: str
    distribution: str
    version: str
    sha256: str
    """Of the file of its weights."""
    licence: str
    image_shape: tuple[int, int, int]
    n_way: tuple[int, int]
    """The fewest and the most classes that it serves."""

    def __str__(self) -> str:
        return f"super-net {self.name!r} of {self.distribution} {self.version}".rstrip()


def origin_of(run: RunDir) -> Origin | None:
    """Return the super-net of a distribution that a run started from; ``None`` if a run trained it."""
    told = run.record().get("supernet")
    return None if told is None else from_json(told, Origin, f"{run.record_path}: supernet", hint="begin another run")


def is_unpacked(run: RunDir) -> bool:
    """Return whether a run directory is an unpacked super-net in the user's cache: it is read only, and copied."""
    return bool(run.phase(PHASE).get("unpacked"))


def place_beside(run: RunDir, root: Path) -> Path:
    """Return the folder for runs that start from the super-net of ``run``: its own, or ``root`` if it is unpacked."""
    return root if is_unpacked(run) else run.path.parent


def called(run: RunDir) -> str:
    """How sentences name the super-net of a run: by its path, or as that of a distribution."""
    origin = origin_of(run) if is_unpacked(run) else None
    return f"the super-net of {run.path}" if origin is None else f"the {origin}"


def check_n_way(run: RunDir, n_way: int, what: str) -> None:
    """Raise `ConfigError` if a run started from a super-net that does not serve tasks of so many classes."""
    origin = origin_of(run)
    if origin and not origin.n_way[0] <= n_way <= origin.n_way[1]:
        fewest, most = origin.n_way
        raise ConfigError(
            f"{what}, and the {origin} serves {fewest} to {most}",
            hint=f"take tasks of {fewest} to {most} classes, or another super-net: `hnas supernets list`",
        )


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
    check_n_way(run, config.task.n_way, f"{N_WAY} is {config.task.n_way}")
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
            f"{called(run)} was trained with other settings:\n{listed}",
            hint=f"leave them out, or train such a super-net: {_command(run, config, wrong)}",
        )
    if misfit:
        raise super_net_misfit(run.path, config.learner.name, misfit)


def _other_images(
    run: RunDir, config: Config, registry: Registry, changed: dict[str, tuple[Any, Any]]
) -> dict[str, tuple[Any, Any]]:
    """Return the changes of the task source and the shapes of its images, if these differ."""
    now, before = image_shape(chosen("tasks", config, registry)), _images(run, registry)
    if before in (None, now):
        return {}
    assert before
    return {k: v for k, v in changed.items() if k.startswith("tasks.")} | {"images": (_text(before), _text(now))}


def _images(run: RunDir, registry: Registry) -> Shape | None:
    """Return the shape of the images that the super-net of ``run`` was trained on, if that is known."""
    if origin := origin_of(run):
        return origin.image_shape
    try:
        # The file's device is not needed, and may be an object that nobody gave.
        own = load_config(registry, file=run.config_path, env={}, instead=("backend", "strategy"), only_read=True)
        return image_shape(chosen("tasks", own.config, registry))
    except HnasError:  # its data are no longer here; the colours are still compared, by the weights
        return None


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
