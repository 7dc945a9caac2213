"""Checkpoints: tensors in safetensors, counters in JSON, each proved by a checksum. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnas.errors import DataError
from hnas.toolkit.files import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
KEEP = 3
"""Checkpoints of one prefix that are kept; more than one, so that a damaged one has a predecessor."""


def save_checkpoint(folder: Path, name: str, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Save ``<name>.safetensors`` and ``<name>.json`` in ``folder``; return the path of the JSON file.

    ``name`` is a prefix and a counter, as in ``meta-train-000500``; a higher counter is newer, and the oldest of the
    prefix are deleted. A name without a counter is written once. ``meta`` is anything that JSON holds. The JSON file,
    written last, makes the checkpoint valid: after a kill in between, the previous one is used. Raises `DataError` when
    the disk is full.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    # Cloned, because safetensors refuses tensors that share storage, as views of a super-net's weights do.
    content = save({k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()})
    write_bytes(folder / f"{name}.safetensors", content)
    meta = json.loads(json.dumps(meta))  # as a reader will see it: tuples are lists, keys are text
    checksums = {"sha256": _sha256(content), "meta_sha256": _meta_sha256(meta)}
    record = {"schema": SCHEMA, "name": name, **checksums, "meta": meta}
    path = folder / f"{name}.json"
    write_json(path, record)
    prefix, counter = _split(name)
    for stale in _saved(folder, prefix)[KEEP:] if counter is not None else []:
        stale.with_suffix(".safetensors").unlink(missing_ok=True)
        stale.unlink(missing_ok=True)  # after a kill in between it is stale still, so the next save deletes it
    for leftover in folder.glob(f".{prefix}*.tmp"):
        leftover.unlink(missing_ok=True)
    return path


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the checkpoint whose JSON file is ``path``. Raises `DataError` if a checksum does not hold."""
    from safetensors.torch import load

    record = read_json(path)
    tensor_path = path.with_suffix(".safetensors")
    try:
        schema, meta = record["schema"], record["meta"]
        expected, expected_meta = record["sha256"], record["meta_sha256"]
    except (KeyError, TypeError) as cause:
        raise DataError(f"{path} is damaged: not a checkpoint's record") from cause
    if schema != SCHEMA:
        raise DataError(f"{path} has schema {schema!r}; this hnas reads {SCHEMA}", hint="upgrade hnas")
    if _meta_sha256(meta) != expected_meta:
        raise DataError(f"{path} is damaged: its checksum does not hold")
    try:
        content = tensor_path.read_bytes()
    except OSError as cause:
        raise DataError(f"cannot read {tensor_path}: {cause.strerror}") from cause
    if _sha256(content) != expected:
        raise DataError(f"{tensor_path} is damaged: its checksum does not hold")
    return load(content), meta


def weights_checksum(path: Path) -> str:
    """Return the checksum of the tensors whose JSON file is ``path``. Raises what `load_checkpoint` does."""
    load_checkpoint(path)
    return str(read_json(path)["sha256"])


def load_latest(
    folder: Path, prefix: str, *, notify: Callable[[str], None] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the newest checkpoint of ``prefix`` that is whole, or ``None`` if there is none.

    One that was cut short or edited is refused, and ``notify`` gets a line that names the one used instead.
    """
    refused: list[str] = []
    found, then = None, f"no whole checkpoint is left, so {prefix} starts again"
    for path in _saved(folder, prefix):
        try:
            found, then = load_checkpoint(path), f"going on from {path.stem}"
            break
        except DataError as cause:
            refused.append(str(cause))
    if refused and notify:
        notify(f"{'; '.join(refused)}; {then}")
    return found


def _saved(folder: Path, prefix: str) -> list[Path]:
    """The JSON files of a prefix, newest first."""
    found = [(_split(p.stem), p) for p in folder.glob("*.json")]
    counted = [(counter or 0, p) for (start, counter), p in found if start == prefix]
    return [p for _, p in sorted(counted, reverse=True)]


def _split(name: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(.+)-(\d+)", name)
    return (match[1], int(match[2])) if match else (name, None)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _meta_sha256(meta: Any) -> str:
    return _sha256(json.dumps(meta, sort_keys=True).encode())
