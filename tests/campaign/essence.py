"""What of a run must not depend on kills, damage and neighbours: everything but times."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ARTEFACTS = ("config.toml", "profile.json", "search.jsonl", "adapt.json", "evaluate.json")
TIMES = {"started", "ended", "created", "id", "copied_from", "seconds", "time"}


def essence(run: Path) -> dict[str, str]:
    """Return a digest of each artefact, of each network's last weights, and the record without its times."""
    found = {name: digest(run / name) for name in ARTEFACTS}
    for folder in sorted((run / "checkpoints").iterdir()):
        found[f"weights of {folder.name}"] = digest(max(folder.glob("state-*.safetensors")))
    record = timeless(json.loads((run / "run.json").read_text()))
    record.pop("sha256", None)  # of a record with its times
    found["run.json"] = json.dumps(record, sort_keys=True)
    return found


def differences(run: Path, expected: dict[str, str]) -> Iterator[str]:
    """Yield a sentence for each part of a run that is not as expected."""
    try:
        found = essence(run)
    except (OSError, ValueError) as cause:
        yield f"the finished run cannot be read: {cause}"
        return
    for name in expected | found:
        if found.get(name) != expected.get(name):
            yield f"{name} of {run} is not that of an uninterrupted run"


def timeless(value: Any) -> Any:
    """Return a record without its times and names."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def digest(path: Path) -> str:
    """Return the digest of a file, or "missing"."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def rows(home: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rows of a home's cost store, by key."""
    path = home / "costs.sqlite3"
    if not path.is_file():
        return {}
    database = sqlite3.connect(path, timeout=30)
    try:
        found = database.execute("SELECT backend, fingerprint, layer, metric, round, median, unit FROM sample")
        return {row[:5]: row[5:] for row in found}
    except sqlite3.OperationalError:  # no table yet
        return {}
    finally:
        database.close()


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files below a folder."""
    return [str(p.relative_to(folder)) for p in folder.rglob("*.tmp")]
