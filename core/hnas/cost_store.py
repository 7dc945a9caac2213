"""The cost store: layers measured in earlier runs, kept in the user's cache.

SQLite with ``journal_mode=DELETE`` and ``synchronous=FULL``: of the ways tried this one lost nothing that it had
acknowledged, through kills and with several processes writing. Transactions start with ``BEGIN IMMEDIATE``: a deferred
one fails with "database is locked" when it turns from reading to writing while another process does the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from hnas.cost import DeviceInfo, LayerCosts, Measurement
from hnas.errors import DataError
from hnas.home import home

SCHEMA = 1
TIMEOUT_S = 30.0
_CREATE = """
CREATE TABLE cost (
    backend TEXT NOT NULL, fingerprint TEXT NOT NULL, layer TEXT NOT NULL, metric TEXT NOT NULL,
    median REAL NOT NULL, mad REAL NOT NULL, n INTEGER NOT NULL, unit TEXT NOT NULL,
    PRIMARY KEY (backend, fingerprint, layer, metric)
) WITHOUT ROWID
"""
_SAVE = """
INSERT INTO cost VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET median = excluded.median, mad = excluded.mad, n = excluded.n, unit = excluded.unit
"""
_LOAD = "SELECT layer, metric, median, mad, n, unit FROM cost WHERE backend = ? AND fingerprint = ?"


class CostStore:
    """Measurements by (backend, device fingerprint, layer key, metric). Several processes may use one file at once.

    Without a path it is ``costs.sqlite3`` in `hnas.home.home`. Every method raises `DataError` where the file cannot be
    used: damaged, of a newer hnas, not writable, or held by another process for more than 30 s.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = home() / "costs.sqlite3" if path is None else path
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=TIMEOUT_S, isolation_level=None)
        try:
            with self._explained():
                self._db.execute("PRAGMA journal_mode = DELETE")
                self._db.execute("PRAGMA synchronous = FULL")
            self._make_schema()
        except BaseException:
            self._db.close()
            raise

    def load(self, info: DeviceInfo) -> dict[str, dict[str, Measurement]]:
        """Return everything known of the device: layer key to metric to measurement."""
        found: dict[str, dict[str, Measurement]] = {}
        with self._explained():
            for layer, metric, median, mad, n, unit in self._db.execute(_LOAD, (info.backend, info.fingerprint)):
                found.setdefault(layer, {})[metric] = Measurement(median=median, mad=mad, n=n, unit=unit)
        return found

    def save(self, info: DeviceInfo, rows: Mapping[str, LayerCosts]) -> None:
        """Write measurements by layer key, over older ones, in one transaction: all of them, or none.

        When it returns they are on the disk and survive a kill or a power cut. It takes milliseconds (two flushes of
        the disk), whatever the number of rows.
        """
        with self._transaction():
            self._db.executemany(_SAVE, _flat(info, rows))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> CostStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _make_schema(self) -> None:
        with self._transaction():  # immediate, so that of two processes that find a new file one makes the table
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._db.execute(_CREATE)
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")
        if version > SCHEMA:
            raise DataError(
                f"the cost store {self.path} has schema {version}, written by a newer hnas; this one knows {SCHEMA}",
                hint="upgrade hnas, or set HNAS_HOME to another folder",
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of SQLite and of the file system into a `DataError` that says what to do."""
        try:
            yield
        except sqlite3.Error as cause:
            if not isinstance(cause, sqlite3.OperationalError) or cause.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise DataError(
                    f"the cost store {self.path} is damaged, or not a cost store: {cause}",
                    hint=f"move it away (mv {self.path} {self.path}.damaged) and run again; layers are then measured "
                    "anew",
                ) from cause
            raise DataError(  # locked, full, read-only, cannot be opened: the file may be whole
                f"cannot use the cost store {self.path}: {cause}",
                hint="check that its folder is writable and its disk has space, and that no other process holds it for "
                "more than 30 s; HNAS_HOME sets another folder",
            ) from cause
        except OSError as cause:
            raise DataError(
                f"cannot make the folder of the cost store {self.path}: {cause}", hint="HNAS_HOME sets another folder"
            ) from cause


def _flat(info: DeviceInfo, rows: Mapping[str, LayerCosts]) -> Iterable[tuple[str | float | int, ...]]:
    for layer, costs in rows.items():
        for metric, m in costs.items():
            yield info.backend, info.fingerprint, layer, metric, m.median, m.mad, m.n, m.unit
