"""A run's environment: versions, processor, plugin distributions. Reads package records only, imports no package."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

from hnas._version import __version__
from hnas.discovery import GROUP
from hnas.errors import DataError, short
from hnas.toolkit.files import check_seal, read_json

SCHEMA = 2
"""The first had neither a number nor a checksum."""
PACKAGES = ("torch", "numpy", "scalesim", "safetensors", "attrs", "cattrs", "pluggy", "matplotlib", "Pillow")
THREADS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS")


def environment() -> dict[str, Any]:
    """Describe this process's environment, for a run's ``environment.json``."""
    return {
        "schema": SCHEMA,
        "hnas": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "plugins": {p.dist.name: p.dist.version for p in entry_points(group=GROUP) if p.dist},
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
    }


def recorded(path: Path) -> dict[str, Any]:
    """Read an ``environment.json``. Raises `DataError` that names the file and the key if it is damaged."""
    hint = "delete it; then versions are not compared any more"
    described = read_json(path)
    older = isinstance(described, dict) and "schema" not in described
    check_seal(described, str(path), needed=not older, hint=hint)
    parts = {"": described, **{k: described.get(k, {}) for k in ("plugins", "packages") if isinstance(described, dict)}}
    for key, value in parts.items():
        if not isinstance(value, dict):
            where = f"as {key!r}" if key else "of versions"
            raise DataError(f"{path} is damaged: expected an object {where}, got {short(value)}", hint=hint)
    return dict(described)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the versions that differ between two environments: ``torch 2.12.0 -> 2.13.0``."""
    old, new = _versions(before), _versions(now)
    return [f"{k} {old.get(k, 'none')} -> {new.get(k, 'none')}" for k in sorted(old | new) if old.get(k) != new.get(k)]


def _versions(described: Mapping[str, Any]) -> dict[str, str]:
    single = {k: str(described.get(k)) for k in ("hnas", "python")}
    return {**described.get("plugins", {}), **described.get("packages", {}), **single}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    with suppress(OSError):  # Linux has the file
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
