"""The run directory: the files of a run, from which it goes on where it stopped."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from hnas._version import __version__
from hnas.errors import DataError, short
from hnas.toolkit.files import check_seal, read_json, sealed, write_json, write_text
from hnas_app.runs.environment import changes, environment, recorded
from hnas_app.runs.folder_lock import folder_lock, is_locked
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
PICTURES = "pictures.json"
"""The labelled pictures that a run was made for, see `hnas_app.usecases.own_task`."""
SWEEP = "sweep.json"
"""The file that marks a folder as a sweep's: the folder holds a run directory for each pair of device and limits."""
_ANEW = "restore the file from a copy, or start a new run"


def not_a_run(path: Path) -> DataError:
    """Return the error for a folder that is no run directory."""
    hint = "`hnas runs` lists those in runs/ of the folder that it is called in, by whose names and ids they are known"
    return DataError(f"{path} is not a run directory: it has no run.json", hint=hint)


@frozen
class RunDir:
    """A run's folder: ``run.json``, ``config.toml``, ``environment.json``, ``metrics.jsonl`` and artefacts."""

    path: Path

    @classmethod
    def named(cls, config: Config, root: Path) -> RunDir:
        """Return a run directory that is still to be made: ``<root>/<time>-<space>-<backend>-<id>``."""
        parts = (slug(config.space.name), slug(config.backend.name), secrets.token_hex(3))
        return cls(root / "-".join((time.strftime("%Y%m%d-%H%M%S"), *parts)))

    @classmethod
    def create(
        cls,
        config: Config,
        *,
        root: Path = Path("runs"),
        path: Path | None = None,
        phases: Mapping[str, Mapping[str, Any]] | None = None,
        supernet: Mapping[str, Any] | None = None,
    ) -> RunDir:
        """Make a new run directory: ``path``, or one that is `named` below ``root``. Raises `DataError`.

        ``phases`` are those that are done already; ``supernet`` is the record of a `hnas_app.runs.super_net.Origin`. If
        another process may do the same, the caller locks the folder first, with `hnas_app.runs.making.reserved`.
        """
        from hnas_app.config.changes import with_checksum
        from hnas_app.config.dump import dump_toml

        run = cls(path) if path else cls.named(config, root)
        path = run.path
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise DataError(f"cannot make the run directory {path}: {cause.strerror}") from cause
        write_json(path / "environment.json", sealed(environment()))
        write_text(path / "config.toml", with_checksum(dump_toml(config)))
        record = {
            "schema": SCHEMA,
            "id": path.name.rpartition("-")[2],
            "hnas": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "space": config.space.name,
            "backend": config.backend.name,
            "tasks": config.tasks.name,
            "preset": config.preset,
            "constraints": list(config.constraints),
            "seed": config.seed,
            "phases": phases or {},
            **({} if supernet is None else {"supernet": supernet}),
        }
        # Written last: a folder without it is not a run yet.
        write_json(run.record_path, sealed(record))
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Open an existing run directory. Raises `DataError` if ``path`` is none, or its settings were edited."""
        if not (path / "run.json").is_file():
            raise not_a_run(path)
        from hnas_app.config.changes import check_file

        run = cls(path)
        check_file(run.config_path, needed=not run.is_unchecked)
        return run

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
        from hnas_app.config.changes import config_changes

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

    @contextmanager
    def locked(self) -> Iterator[RunDir]:
        """Yield this run directory while it is locked."""
        with self.lock():
            yield self

    def is_locked(self) -> bool:
        """Return whether a process is in the directory now."""
        return is_locked(self.path)


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is a sweep's."""
    return (folder / SWEEP).is_file()


def slug(name: str) -> str:
    """Make a plugin's name fit for a folder: the class alone, if it is one of the user's code."""
    return re.sub(r"[^A-Za-z0-9.+]+", "_", name.rpartition(":")[2]).strip("_")
