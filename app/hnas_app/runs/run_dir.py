"""The run directory: the files of a run, from which it goes on where it stopped."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from hnas._version import __version__
from hnas.errors import DataError, quoted, short
from hnas.toolkit.files import check_seal, read_json, sealed, write_json, write_text
from hnas.toolkit.lock import folder_lock, is_locked
from hnas_app.runs.environment import changes, environment, recorded
from hnas_app.runs.leftovers import remove_leftovers
from hnas_app.trackers.json_lines import JsonLines

if TYPE_CHECKING:
    from hnas_app.config.schema import Config

SCHEMA, UNSEALED = 2, 1
"""The schema of a run's record, and the last without checksums."""
PHASES = ("meta-train", "profile", "adapt", "retrain", "evaluate")
PhaseState = Literal["running", "stopped", "done"]
SPLITS_FILE = "splits.json"
"""The classes that the run was trained with, see `hnas_app.runs.tasks_check`."""
SWEEP = "sweep.json"
"""The file that marks a folder as a sweep's: the folder holds a run directory for each pair of device and limits."""
_ANEW = "restore the file from a copy, or start a new run"


@frozen
class RunDir:
    """A run's folder: ``run.json``, ``config.toml``, ``environment.json``, ``metrics.jsonl`` and artefacts."""

    path: Path

    @classmethod
    def create(cls, config: Config, *, root: Path = Path("runs"), path: Path | None = None) -> RunDir:
        """Make a new run directory: ``path``, or ``<root>/<time>-<space>-<backend>-<id>``. Raises `DataError`."""
        from hnas_app.config.dump import dump_toml
        from hnas_app.runs.config_changes import with_checksum

        run_id = secrets.token_hex(3)
        if path is None:
            parts = (time.strftime("%Y%m%d-%H%M%S"), slug(config.space.name), slug(config.backend.name), run_id)
            path = root / "-".join(parts)
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise DataError(f"cannot make the run directory {path}: {cause.strerror}") from cause
        run = cls(path)
        write_json(path / "environment.json", sealed(environment()))
        write_text(path / "config.toml", with_checksum(dump_toml(config)))
        record = {
            "schema": SCHEMA,
            "id": run_id,
            "hnas": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "space": config.space.name,
            "backend": config.backend.name,
            "tasks": config.tasks.name,
            "preset": config.preset,
            "seed": config.seed,
            "phases": {},
        }
        # Written last: a folder without it is not a run yet.
        write_json(run.record_path, sealed(record))
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Open an existing run directory. Raises `DataError` if ``path`` is none, or its settings were edited."""
        if not (path / "run.json").is_file():
            raise DataError(f"{path} is not a run directory: it has no run.json", hint="`hnas runs` lists them")
        from hnas_app.runs.config_changes import check_file

        run = cls(path)
        check_file(run.config_path, needed=not run.is_unchecked)
        return run

    @classmethod
    def resume_or_create(cls, path: Path, config: Config) -> tuple[RunDir, list[str]]:
        """Open ``path`` if it is a run directory of this configuration, make it if it is missing or empty.

        Returns it with sentences for the user, such as a version that changed since. Raises `ConfigError` that lists
        what differs, and `DataError` for a folder that holds something else.
        """
        if (path / "run.json").is_file():
            run = cls.open(path)
            return run, run.check_config(config) + run.environment_changes()
        # Files that a kill between the first writes left behind are ours.
        first = {"environment.json", "config.toml", "checkpoints"}
        is_ours = path.is_dir() and all(p.name in first or p.name.endswith(".tmp") for p in path.iterdir())
        if path.exists() and not is_ours:
            raise DataError(f"{path} is neither a run directory nor empty", hint="give --run-dir a new folder")
        return cls.create(config, path=path), []

    def branch(self, config: Config, *, path: Path | None = None) -> RunDir:
        """Make a run of other settings beside this one (or at ``path``), which starts from a copy of its super-net.

        So neither run needs the other. If the file system has hard links, the copy takes no space: checkpoints are
        replaced as a whole and never changed. Raises `DataError` if the super-net is not finished.
        """
        if not self.is_done("meta-train"):
            raise DataError(
                f"the super-net of {self.path} is not trained to its end, so no other run can start from it",
                hint=f"finish it first: hnas meta-train --run-dir {quoted(self.path)}",
            )
        if not any((self.checkpoints / "meta-train").glob("*.safetensors")):
            from hnas_app.training.meta_train import super_net_gone

            raise super_net_gone(self.checkpoints / "meta-train")
        beside = self.path.parent
        root = beside.parent if is_sweep(beside) else beside  # a sweep's folder holds its own pairs only
        new = self.create(config, root=root, path=path)
        shutil.copytree(self.checkpoints / "meta-train", new.checkpoints / "meta-train", copy_function=_linked)
        if (self.path / SPLITS_FILE).is_file():
            shutil.copy2(self.path / SPLITS_FILE, new.path)
        new.set_phase("meta-train", "done", copied_from=str(self.path))
        return new

    # ---------------------------------------------------------------- files

    @property
    def record_path(self) -> Path:
        return self.path / "run.json"

    @property
    def config_path(self) -> Path:
        return self.path / "config.toml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> JsonLines:
        return JsonLines(self.path / "metrics.jsonl")

    # ---------------------------------------------------------------- record

    def record(self) -> dict[str, Any]:
        """Return ``run.json``. Raises `DataError` if it is damaged or of a newer schema."""
        record = read_json(self.record_path)
        if not isinstance(record, dict):
            raise DataError(f"{self.record_path} is damaged: expected an object with 'phases', got {short(record)}")
        if record.get("schema") not in (SCHEMA, UNSEALED):
            raise DataError(
                f"{self.record_path} has schema {record.get('schema')!r}; this hnas reads {SCHEMA}", hint="upgrade hnas"
            )
        check_seal(record, str(self.record_path), needed=record["schema"] == SCHEMA, hint=_ANEW)
        objects = {"phases": record.get("phases"), "results": record.get("results") or {}}
        if isinstance(objects["phases"], dict):
            objects |= {f"phases.{name}": phase for name, phase in objects["phases"].items()}
        for key, value in objects.items():
            if not isinstance(value, dict):
                raise DataError(f"{self.record_path} is damaged: expected an object as {key!r}, got {short(value)}")
        return record

    @property
    def is_unchecked(self) -> bool:
        """Whether an older hnas made the run, whose records had no checksums. Raises what `record` does."""
        return bool(self.record()["schema"] == UNSEALED)

    def update(self, **values: Any) -> None:
        """Set top-level keys of ``run.json``, such as ``results``; the file is replaced as a whole."""
        self._write({**self.record(), **values})

    def phase(self, name: str) -> dict[str, Any]:
        """Return the record of a phase in ``run.json``: its ``state`` and values of `set_phase`; empty before it."""
        return dict(self.record()["phases"].get(name, {}))

    def is_done(self, phase: str) -> bool:
        """Return whether a phase has finished."""
        return self.phase(phase).get("state") == "done"

    def set_phase(self, name: str, state: PhaseState, **values: Any) -> None:
        """Set the state of a phase, with further values for the record; times are kept by it."""
        record = self.record()
        phase = record["phases"].setdefault(name, {})
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        if state == "running":
            phase.setdefault("started", now)
        else:
            phase["ended"] = now
        phase.update(values, state=state)
        self._write(record)

    def _write(self, record: dict[str, Any]) -> None:
        write_json(self.record_path, sealed({key: value for key, value in record.items() if key != "checksum"}))

    @contextmanager
    def running(self, phase: str) -> Iterator[None]:
        """Record a phase as ``running`` until the context ends, then as ``done``, or as ``stopped`` after any error."""
        self.set_phase(phase, "running")
        try:
            yield
            self.set_phase(phase, "done")
        except BaseException:
            with suppress(DataError):  # such as on a full disk: the error that stopped the phase is the one to raise
                self.set_phase(phase, "stopped")
            raise

    def states(self) -> dict[str, str]:
        """Return the state of each phase that began: ``running``, ``stopped`` or ``done``. Raises what `record` does.

        A killed process cannot correct the record. So a phase is ``stopped`` when nobody holds the lock.
        """
        states = {name: str(phase.get("state", "")) for name, phase in self.record()["phases"].items()}
        if "running" in states.values() and not self.is_locked():
            return {name: "stopped" if state == "running" else state for name, state in states.items()}
        return states

    # ---------------------------------------------------------------- resume

    def check_config(self, config: Config, *, only_read: bool = False) -> list[str]:
        """Compare ``config`` with the run's own. Raises `ConfigError` that lists every value which results depend on.

        Returns a sentence for each other value that differs. Removed options are passed over as by `load_config`.
        """
        from hnas_app.runs.config_changes import config_changes

        return config_changes(self.config_path, config, only_read=only_read)

    def environment_changes(self) -> list[str]:
        """Return a sentence on the versions that changed since the run began, if any did. Raises `DataError`."""
        path = self.path / "environment.json"
        if not path.exists():
            return []
        before = recorded(path)
        changed = changes(before, environment())
        return [f"versions changed since the run began: {', '.join(changed)}"] if changed else []

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out of the directory. Raises `DataError` with the id of the process that is in it.

        Temporary files of processes that were killed are removed. A folder that cannot be written needs no lock.
        """
        with folder_lock(self.path, "the run directory") as alone:
            if alone:
                remove_leftovers(self.path)
            yield

    def is_locked(self) -> bool:
        """Return whether a process is in the directory now."""
        return is_locked(self.path)


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is a sweep's."""
    return (folder / SWEEP).is_file()


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def slug(name: str) -> str:
    """Make a plugin's name fit for a folder: the class alone, if it is one of the user's code."""
    return re.sub(r"[^A-Za-z0-9.+]+", "_", name.rpartition(":")[2]).strip("_")
