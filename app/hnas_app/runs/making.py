"""How run directories come to be: reserved under their lock, then made, taken up again, or copied from another run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from hnas.errors import ConfigError, DataError, HnasError
from hnas_app.config.schema import Config
from hnas_app.runs.run_dir import SPLITS_FILE, RunDir

FIRST = (".lock", "environment.json", "config.toml", "checkpoints")
"""What may be in a folder before ``run.json``: a kill between the first writes leaves it."""
OF_NO_USE = ("metrics.jsonl", "profile.json", SPLITS_FILE)
"""What a run leaves whose first phase failed; the cost store has the rows of the table, too."""


@contextmanager
def reserved(run: RunDir) -> Iterator[RunDir]:
    """Make a run's folder if it is missing, and yield the run locked, before anything is written into it.

    Raises `DataError` for a folder that holds something else, or that another process is in; it is left as it is.
    """
    refuse_foreign(run)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise DataError(f"cannot make the run directory {run.path}: {cause.strerror}") from cause
    with run.lock():
        yield run


def refuse_foreign(run: RunDir) -> None:
    """Raise `DataError` if the folder of a run holds something that is not a run's."""
    path = run.path
    if path.exists() and not is_made(run) and not (path.is_dir() and _holds_only(path, FIRST)):
        raise DataError(f"{path} is neither a run directory nor empty", hint="give --run-dir a new folder")


def is_made(run: RunDir) -> bool:
    """Return whether there is a run in the folder."""
    return run.record_path.is_file()


def is_unused(run: RunDir) -> bool:
    """Return whether nothing was computed in a run but a cost table."""
    done = [name for name, phase in run.record()["phases"].items() if phase.get("state") == "done"]
    saved = any(p.is_file() for p in run.checkpoints.rglob("*"))
    return not saved and done in ([], ["profile"]) and _holds_only(run.path, (*FIRST, *OF_NO_USE, "run.json"))


def resume_or_create(path: Path, config: Config) -> tuple[RunDir, list[str]]:
    """Open ``path`` if it is a run directory of this configuration; make it if it is missing, empty or unused.

    The caller holds its lock. Returns it with sentences for the user, such as a version that changed since. Raises
    `ConfigError` that lists what differs, and `DataError` for a folder that holds something else.
    """
    run = RunDir(path)
    if not is_made(run):
        refuse_foreign(run)
        return RunDir.create(config, path=path), []
    RunDir.open(path)
    try:
        return run, run.check_config(config) + run.environment_changes()
    except ConfigError:
        if not is_unused(run):
            raise
    for name in OF_NO_USE:
        (path / name).unlink(missing_ok=True)
    return RunDir.create(config, path=path), [f"nothing was computed in {path} yet, so it takes the new settings"]


def copy_super_net(run: RunDir, new: RunDir, config: Config) -> None:
    """Make ``new``, a run of other settings, with a copy of the super-net of ``run``, so that neither needs the other.

    If the file system has hard links, the copy takes no space: checkpoints are replaced as a whole and never changed.
    """
    shutil.rmtree(new.checkpoints / "meta-train", ignore_errors=True)  # of a copy that was killed
    shutil.copytree(run.checkpoints / "meta-train", new.checkpoints / "meta-train", copy_function=_linked)
    if (run.path / SPLITS_FILE).is_file():
        shutil.copy2(run.path / SPLITS_FILE, new.path)
    phases = {"meta-train": {"state": "done", "copied_from": str(run.path)}}
    RunDir.create(config, path=new.path, phases=phases, supernet=run.record().get("supernet"))


@contextmanager
def removed_if_unused(last: Path, runs: Collection[RunDir]) -> Iterator[None]:
    """Remove the new folder that ``runs`` are in after an `HnasError` before they computed more than costs.

    ``last`` is the file in it that is written last: without it the folder is removed after anything. This is for
    folders that hnas has named: the command that the user corrects makes another one.
    """
    try:
        yield
    except BaseException as error:
        if not last.is_file() or (isinstance(error, HnasError) and not any(map(_has_begun, runs))):
            shutil.rmtree(last.parent, ignore_errors=True)
        raise


def _has_begun(run: RunDir) -> bool:
    """Return whether a phase began that computes more than costs."""
    phases = run.record()["phases"] if is_made(run) else {}
    return any(name != "profile" and "copied_from" not in phase for name, phase in phases.items())


def _holds_only(folder: Path, names: Collection[str]) -> bool:
    return all(p.name in names or p.name.endswith(".tmp") for p in folder.iterdir())


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
