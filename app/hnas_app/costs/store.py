"""The cost store: layers measured in earlier runs, kept in the user's cache, and taken to and from table files.

SQLite with ``journal_mode=DELETE`` and ``synchronous=FULL``: of the modes tried, this one lost no acknowledged row,
with kills and several writing processes. Transactions start with ``BEGIN IMMEDIATE``: a deferred one fails with
"database is locked" when it turns from reading to writing while another process does the same.

SQLite finds damaged pages, not damaged values, so every row has a checksum. A row that fails it is deleted by the next
`CostStore.load`, which reports it: its layer is then measured again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hnas.cost import DeviceInfo, LayerCosts, Measurement
from hnas.errors import DataError, DeviceError, HnasError, first_few, quoted, short
from hnas.layer import Shape
from hnas.space import SearchSpace
from hnas.toolkit.codec import to_json
from hnas.toolkit.files import check_seal, checksum, parse_json, sealed
from hnas.toolkit.home import home
from hnas.toolkit.table_file import RoundCosts, TableFile

SCHEMA = 3
TIMEOUT_S = 30.0
_CREATE = (
    """
CREATE TABLE sample (
    backend TEXT NOT NULL, fingerprint TEXT NOT NULL, layer TEXT NOT NULL, metric TEXT NOT NULL, round INTEGER NOT NULL,
    median REAL NOT NULL, mad REAL NOT NULL, n INTEGER NOT NULL, unit TEXT NOT NULL, samples TEXT NOT NULL,
    checksum TEXT NOT NULL,
    PRIMARY KEY (backend, fingerprint, layer, metric, round)
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS device (
    backend TEXT NOT NULL, fingerprint TEXT NOT NULL, info TEXT NOT NULL, calibration TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (backend, fingerprint)
) WITHOUT ROWID
""",
)
_OLDER = {
    1: ("SELECT backend, fingerprint, layer, metric, 0, median, mad, n, unit, '[]' FROM cost", "DROP TABLE cost"),
    2: ("SELECT * FROM sample", "DROP TABLE sample"),
}
"""How the rows of an older schema are read, and its table dropped. Schema 1 had one round, and no raw samples."""
_SAVE = """
INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    median = excluded.median, mad = excluded.mad, n = excluded.n, unit = excluded.unit, samples = excluded.samples,
    checksum = excluded.checksum
"""
_LOAD = "SELECT * FROM sample WHERE backend = ? AND fingerprint = ?"
_DROP = "DELETE FROM sample WHERE (backend, fingerprint, layer, metric, round, checksum) = (?, ?, ?, ?, ?, ?)"
_DISCARD = "DELETE FROM sample WHERE backend = ? AND fingerprint = ? AND layer = ? AND round = ?"
_SAVE_DEVICE = """
INSERT INTO device (backend, fingerprint, info) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET info = excluded.info
"""
_SAVE_CALIBRATION = "UPDATE device SET calibration = ? WHERE backend = ? AND fingerprint = ?"
_LOAD_CALIBRATION = "SELECT calibration FROM device WHERE backend = ? AND fingerprint = ?"


def _on_stderr(text: str) -> None:
    print(f"hnas: {text}", file=sys.stderr)


class CostStore:
    """Measurements by (backend, device fingerprint, layer key, metric, round), for several processes at once.

    Without a path it is ``costs.sqlite3`` in `hnas.toolkit.home.home`. ``notify`` receives a sentence about rows that
    have no checksum yet, or fail it. A file that cannot be written is read only. Every method raises `DataError` if the
    file cannot be used: damaged, of a newer hnas, to be written though it is read only, or held by another process for
    more than 30 s.
    """

    def __init__(self, path: Path | None = None, *, notify: Callable[[str], None] = _on_stderr) -> None:
        self.path = home() / "costs.sqlite3" if path is None else path
        self.read_only = self.path.exists() and not all(os.access(p, os.W_OK) for p in (self.path, self.path.parent))
        self._notify = notify
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = _connected(self.path)
        try:
            with self._explained():
                self._db.execute("PRAGMA journal_mode = DELETE")
                self._db.execute("PRAGMA synchronous = FULL")
                if self.read_only:  # what cannot be written is read from a copy, which may be given the current schema
                    copy = _connected(":memory:")
                    self._db.backup(copy)
                    self._db.close()
                    self._db = copy
            self._make_schema()
            self._db.execute(f"PRAGMA query_only = {self.read_only}")
        except BaseException:
            self._db.close()
            raise

    def load(self, info: DeviceInfo) -> RoundCosts:
        """Return all rows of the device: the costs of each layer in each round; rows that fail their checksum go."""
        found: RoundCosts = {}
        damaged = []
        with self._explained():
            for row in self._db.execute(_LOAD, _key(info)).fetchall():
                try:
                    if row[-1] != checksum(row[:-1]):
                        raise ValueError("its checksum does not hold")
                    layer, metric, nth, measured = _measured(row)
                    found.setdefault(layer, {}).setdefault(nth, {})[metric] = measured
                except (TypeError, ValueError, HnasError):
                    damaged.append(row)
        if damaged:
            self._notify(
                f"{len(damaged)} rows of the cost store {self.path} are damaged, so their layers are measured again: "
                f"{first_few(short(row[2]) for row in damaged)}"
            )
            if not self.read_only:
                with self._transaction():
                    self._db.executemany(_DROP, [(*row[:5], row[-1]) for row in damaged])
        return found

    def save(self, info: DeviceInfo, rows: Mapping[str, LayerCosts], round: int = 0) -> None:
        """Write the costs of a round by layer key, over older rows, in one transaction: all of them, or none.

        When it returns they are on the disk and survive a kill or a power cut. It takes milliseconds (two flushes of
        the disk), whatever the number of rows.
        """
        with self._transaction():
            self._db.executemany(_SAVE, _flat(info, rows, round))

    def discard(self, info: DeviceInfo, layers: Iterable[str], round: int) -> None:
        """Delete a round's rows of these layers: they cannot be trusted."""
        with self._transaction():
            self._db.executemany(_DISCARD, [(*_key(info), layer, round) for layer in layers])

    def save_device(self, info: DeviceInfo, described: Mapping[str, Any]) -> None:
        """Store the last description of a device, as JSON, with its rows."""
        with self._transaction():
            self._db.execute(_SAVE_DEVICE, (*_key(info), json.dumps(described, sort_keys=True)))

    def save_calibration(self, info: DeviceInfo, calibration: Mapping[str, Any]) -> None:
        """Store the lines from sums over layers to whole networks, for a device that `save_device` has stored."""
        with self._transaction():
            self._db.execute(_SAVE_CALIBRATION, (json.dumps(sealed(calibration)), *_key(info)))

    def load_calibration(self, info: DeviceInfo) -> dict[str, Any]:
        """Return the calibration that was saved last for the device, or an empty one; also if it is damaged."""
        with self._explained():
            found = self._db.execute(_LOAD_CALIBRATION, _key(info)).fetchone()
        if not found or found[0] == "{}":
            return {}
        try:
            calibration = dict(parse_json(found[0]))
            check_seal(calibration, "it", needed=True)
        except (TypeError, ValueError, DataError) as cause:
            self._notify(f"the calibration of {info.device} in {self.path} is damaged, and not used: {cause}")
            return {}
        return {name: lines for name, lines in calibration.items() if name != "checksum"}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> CostStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _make_schema(self) -> None:
        with self._transaction():  # immediate, so that only one of two processes makes the tables of a new file
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version < SCHEMA:
                self._take_over(version)
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")
        if version > SCHEMA:
            raise DataError(
                f"the cost store {self.path} has schema {version}, written by a newer hnas; this one knows {SCHEMA}",
                hint="upgrade hnas, or set HNAS_HOME to another folder",
            )

    def _take_over(self, version: int) -> None:
        """Make the tables, with the rows of an older schema; those that make no sense are left out."""
        rows = []
        if version in _OLDER:
            select, drop = _OLDER[version]
            rows = self._db.execute(select).fetchall()
            self._db.execute(drop)
        for statement in _CREATE:
            self._db.execute(statement)
        kept = []
        for row in rows:
            with suppress(TypeError, ValueError, HnasError):
                _measured(row)
                kept.append((*row, checksum(row)))
        self._db.executemany(_SAVE, kept)
        for *key, text in self._db.execute("SELECT backend, fingerprint, calibration FROM device").fetchall():
            with suppress(TypeError, ValueError):
                self._db.execute(_SAVE_CALIBRATION, (json.dumps(sealed(parse_json(text))), *key))
        if rows:
            left_out = f"; {len(rows) - len(kept)} of them make no sense, and are left out" * (len(kept) < len(rows))
            self._notify(f"{len(rows)} rows of {self.path} are of an older hnas, and had no checksums{left_out}")

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
        """Turn the errors of SQLite and of the file system into a `DataError` with a hint."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError) as cause:
            raise DataError(
                f"the cost store {self.path} cannot hold a value: {cause}",
                hint="the store is whole; the value is wrong, of the backend or of the file that it came from",
            ) from cause
        except (sqlite3.Error, UnicodeDecodeError) as cause:  # its messages may quote damaged text
            known = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # errors of the module itself have none
            if not isinstance(cause, sqlite3.OperationalError) or known == sqlite3.SQLITE_ERROR:
                raise DataError(
                    f"the cost store {self.path} is damaged, or not a cost store: {cause}",
                    hint=f"move it away (mv {quoted(self.path)} {quoted(f'{self.path}.damaged')}) and run again; "
                    "layers are then measured anew",
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


def from_store(store: CostStore, info: DeviceInfo) -> TableFile:
    """Return everything that the store holds of a device. Raises `DeviceError` if it has no rows."""
    rows = store.load(info)
    if not rows:
        raise DeviceError(
            f"no rows are stored for {info.device} ({info.backend}, {info.runtime}), so there is nothing to export",
            hint=f"measure it first: hnas profile --backend {quoted(info.backend)}",
        )
    return TableFile(info=info, rows=rows, calibration=store.load_calibration(info))


def into_store(store: CostStore, file: TableFile) -> int:
    """Add the rows that the store lacks, and return their number. Existing rows stay as they are."""
    known = store.load(file.info)
    store.save_device(file.info, to_json(file.info))
    by_round: dict[int, dict[str, Any]] = {}
    for key, rounds in file.rows.items():
        for nth, costs in rounds.items():
            if nth not in known.get(key, {}):
                by_round.setdefault(nth, {})[key] = costs
    for nth, rows in by_round.items():
        store.save(file.info, rows, nth)
    if file.calibration:
        store.save_calibration(file.info, {**file.calibration, **store.load_calibration(file.info)})
    return sum(map(len, by_round.values()))


def scope(space: SearchSpace, input_shape: Shape) -> str:
    """Return the scope of a calibration: networks of one space on images of one size."""
    return f"{space.name} {'x'.join(map(str, input_shape))}"


def _key(info: DeviceInfo) -> tuple[str, str]:
    return info.backend, info.fingerprint


def _flat(info: DeviceInfo, rows: Mapping[str, LayerCosts], nth: int) -> Iterable[tuple[str | float | int, ...]]:
    for layer, costs in rows.items():
        for metric, m in costs.items():
            row = (*_key(info), layer, metric, nth, m.median, m.mad, m.n, m.unit, json.dumps(m.samples))
            yield *row, checksum(row)


def _measured(row: Sequence[Any]) -> tuple[str, str, int, Measurement]:
    """Return the layer, the metric, the round and the measurement of a row. Raises if its values make no sense."""
    _, _, layer, metric, nth, median, mad, n, unit, samples, *_ = row
    measured = Measurement(median=median, mad=mad, n=n, unit=unit, samples=tuple(parse_json(samples)))
    return layer, metric, nth, measured


def _connected(path: Path | str) -> sqlite3.Connection:
    made = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None)
    made.text_factory = lambda content: content.decode(errors="replace")  # a damaged text fails its checksum
    return made
