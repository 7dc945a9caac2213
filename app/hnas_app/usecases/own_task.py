"""A task of the user's own: from a folder with a few labelled pictures to a network that classifies more of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from hnas.errors import ConfigError, DataError, first_few, quoted
from hnas.toolkit.codec import save, to_json
from hnas.toolkit.files import check_seal, read_json, sealed, write_bytes, write_json
from hnas.toolkit.pictures import Preparation
from hnas_app.own_task.picture_source import PictureSource
from hnas_app.runs.run_dir import PICTURES, RunDir
from hnas_app.usecases.arguments import Caller, Given, check_writable, nobody
from hnas_app.usecases.opening import asked, at_work, branched, check_start

if TYPE_CHECKING:
    from hnas.discovery import Registry
    from hnas.toolkit.pictures import PictureTask
    from hnas_app.config.schema import Config
    from hnas_app.export.onnx_file import OnnxFile
    from hnas_app.report.pictures import PictureResult

SCHEMA, UNSEALED = 2, 1
"""The schema of the record of the pictures, and the last without checksums."""
RECORD, RESULT = PICTURES, "task.json"
SOURCE = "pictures"
"""The task source that reads pictures."""
HALF = 0.5
"""The mean of an image's edge that divides bright paper from dark."""


@frozen(kw_only=True)
class OwnTask:
    """The pictures to adapt to, and the settings for that."""

    pictures: Path | None = None
    """A folder, ``CLASS/*`` its labelled pictures; by default the one that the run was made for."""
    invert: bool | None = None
    """Whether dark becomes bright; by default as the super-net's drawings were."""
    retrain: bool = False
    """Whether to train the chosen network alone before it is adapted."""
    model: Path | None = None
    """Where to write the network as an ONNX model, besides the run's ``export/``."""


@frozen(kw_only=True)
class AdaptedToPictures:
    """The network for a task of the user's own, and the files that hold it."""

    run: Path
    """The run that was made for these pictures."""
    result: PictureResult
    architecture: Path
    model: OnnxFile | None
    """``None`` without ``hnas[onnx]``."""
    model_path: Path
    """The path that the user asked for, else that in the run."""


def recorded_pictures(run: Path) -> tuple[Path, bool] | None:
    """Return the folder that a run was made for and whether its pictures are inverted; ``None`` for other runs."""
    if not (run / RECORD).is_file():
        return None
    match _recorded(run / RECORD):
        case {"root": str(root), "preparation": {"invert": bool(invert)}}:
            return Path(root), invert
    raise DataError(f"{run / RECORD} is damaged: expected an object with 'root' and 'preparation.invert'")


def _recorded(path: Path) -> Any:
    """Read the record of the pictures that a run was made for. Raises `DataError` if it is damaged."""
    record = read_json(path)
    older = isinstance(record, dict) and record.get("schema") == UNSEALED
    hint = "move it away and name the pictures again: a new run is made for them"
    check_seal(record, str(path), needed=not older, hint=hint)
    return {k: v for k, v in record.items() if k not in ("schema", "checksum")} if isinstance(record, dict) else record


def adapt_to(
    caller: Caller,
    path: Path,
    task: OwnTask,
    given: Given,
    *,
    own: Given | None = None,
    run_dir: Path | None = None,
) -> AdaptedToPictures:
    """Search for a task of the user's own, adapt the weights to it and export them, in a run beside ``path``.

    A run that was made for the same pictures and settings is continued; with ``run_dir`` a new one is made there.
    ``own`` is that of `asked`. Raises `DataError`
    for a folder that is no task, and `ConfigError` for one that the super-net cannot serve.
    """
    from hnas_app.export.files import MODEL, Subject, told, write_architecture, write_model
    from hnas_app.export.onnx_file import has_onnx, require_onnx
    from hnas_app.own_task.choose import check_comparable, choose
    from hnas_app.own_task.result import finish
    from hnas_app.runs.session import chosen

    if task.model is not None:  # before a search, not after it
        check_writable(task.model, "model", (".onnx", ""))
        require_onnx()
    asking = asked(caller, "adapt", path, given, own=own)
    pictures, invert = task.pictures, task.invert
    if recorded := recorded_pictures(path):
        pictures = pictures or recorded[0]
        invert = recorded[1] if invert is None else invert
    assert pictures is not None
    preparation, found = read_task(caller, asking.own, asking.run, pictures, invert)
    check_comparable(found, chosen("learner", asking.own, caller.registry))
    if alone := [name for name, count in zip(found.classes, found.shots, strict=True) if count == 1 < found.k_shot]:
        caller.note(f"the only labelled picture of {first_few(alone)} is always adapted to, and never held out")
    size = attrs.evolve(asking.wanted.task, n_way=found.n_way, k_shot=found.k_shot)
    chosen_alone = attrs.evolve(asking.wanted.retrain, finalists=1)  # by the pictures, not by a race on other tasks
    config = attrs.evolve(asking.wanted, task=size, retrain=chosen_alone)
    record = {
        "root": str(pictures.resolve()),
        "classes": list(found.classes),
        "preparation": to_json(preparation),
        "digest": found.digest,
    }
    run, ahead = asking.run, None
    if config == asking.own and run_dir is None and _is_of(run, record):
        run.check_config(config)
        opened = run.locked()
    else:
        copied = branched(caller, run, config, n_way=asking.own.task.n_way, run_dir=run_dir)
        opened = _for_pictures(caller, run, asking.own, config, copied, record)
        ahead = check_start(caller, config, origin=run, phases=("retrain",) if task.retrain else ())
    with at_work(caller, config, opened, ahead=ahead or nobody) as phases:
        if task.retrain:
            phases.check_tasks(["retrain"])
        network, result = finish(phases, found, *choose(phases, found), alone=task.retrain)
        setup, run = phases.setup, phases.run
    folder = run.path / "export"
    subject = Subject(
        classes=found.classes,
        preparation=preparation,
        weights="re-trained" if task.retrain else "super-net",
        task=told(found),
    )
    save(run.path / RESULT, result)
    architecture = write_architecture(folder, setup, network, subject)
    written = write_model(folder / MODEL, setup, network, subject) if task.model or has_onnx() else None
    if task.model is not None:
        write_bytes(task.model, (folder / MODEL).read_bytes())
    return AdaptedToPictures(
        run=run.path, result=result, architecture=architecture, model=written, model_path=task.model or folder / MODEL
    )


def picture_source(registry: Registry, preparation: Preparation, root: Path | None = None) -> PictureSource:
    """Return the source that reads pictures and prepares them by ``preparation``."""
    make = registry.options_class("tasks", SOURCE)
    source: PictureSource = registry.create("tasks", SOURCE, make(root=str(root or ""), **to_json(preparation)))
    return source


def read_task(
    caller: Caller, config: Config, run: RunDir, pictures: Path, invert: bool | None
) -> tuple[Preparation, PictureTask]:
    """Return a folder's task, its pictures prepared like those that the super-net of ``run`` was trained on.

    Raises `DataError` for a folder that is no task, and `ConfigError` for one that the super-net cannot serve.
    """
    from hnas_app.runs.session import chosen, setup_of
    from hnas_app.runs.super_net import check_n_way

    trained_on = chosen("tasks", config, caller.registry)
    channels, height, width = trained_on.image_shape
    if channels not in (1, 3):
        raise ConfigError(f"the super-net of {run.path} takes images of {channels} channels; pictures have 1 or 3")
    inverted = trained_on.inverted if invert is None else invert
    preparation = Preparation(channels=channels, height=height, width=width, invert=inverted)
    task = picture_source(caller.registry, preparation, pictures).task()
    n_way = config.task.n_way
    check_n_way(run, task.n_way, f"{pictures} has {task.n_way} classes")
    if task.n_way > n_way and not setup_of(config, caller.registry).any_n_way:
        raise ConfigError(
            f"{pictures} has {task.n_way} classes; the super-net of {run.path} serves {n_way} at most",
            hint=f"take classes out, or train one for as many: hnas meta-train --config {quoted(run.config_path)} "
            f"--set task.n_way={task.n_way}",
        )
    if trained_on.inverted and task.edge > HALF:
        caller.note(
            "the super-net was trained on bright ink on dark, but most edges of the pictures came out bright: "
            f"{'--no-invert' if inverted else '--invert'} turns them round"
        )
    return preparation, task


def _is_of(run: RunDir, record: Mapping[str, Any]) -> bool:
    """Return whether a run was made for exactly these pictures."""
    path = run.path / RECORD
    return recorded_pictures(run.path) is not None and {**_recorded(path), "root": record["root"]} == record


@contextmanager
def _for_pictures(
    caller: Caller,
    run: RunDir,
    own: Config,
    config: Config,
    copied: AbstractContextManager[RunDir],
    record: Mapping[str, Any],
) -> Iterator[RunDir]:
    """Yield the run that ``copied`` makes beside ``run``, its super-net cut down to the classes of the pictures."""
    from hnas_app.runs.super_net import called

    with copied as new:
        caller.note(f"a new run, {new.path}, starts from {called(run)}")
        n_way = config.task.n_way
        if n_way < own.task.n_way:
            from hnas_app.own_task.choose import fit_super_net
            from hnas_app.runs.session import setup_of

            setup = setup_of(own, caller.registry)
            if not setup.any_n_way:
                fit_super_net(new, setup, n_way)
                caller.note(f"of the super-net's {own.task.n_way} outputs the first {n_way} serve")
        write_json(new.path / RECORD, sealed({"schema": SCHEMA, **record}))
        yield new
