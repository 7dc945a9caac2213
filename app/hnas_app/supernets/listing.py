"""Super-nets as `hnas supernets` shows them: of each what it is for, and whether it is here."""

from __future__ import annotations

from typing import Any

from hnas.discovery import Registered, Registry
from hnas.errors import HnasError
from hnas_app.config.toml import parse_toml
from hnas_app.supernets.files import PARTS, content, descriptor_of, is_remote, missing, path_of


def row(registered: Registered, registry: Registry) -> dict[str, Any]:
    """Describe a super-net as JSON, also one whose files are missing or damaged: ``error`` then says so."""
    found = descriptor_of(registered)
    told: dict[str, Any] = {
        "name": found.name,
        "use": registry.selector(registered),
        "summary": found.summary,
        "distribution": registered.distribution,
        "version": registered.version,
        "licence": found.licence,
        "image_shape": list(found.image_shape),
        "n_way": list(found.n_way),
        "space": None,
        "tasks": None,
        "files": {},
        "to_fetch": 0,
        "error": None,
    }
    try:
        lacking = missing(registered)
        for part in PARTS:
            file = getattr(found, part)
            place = {"url": file.place if is_remote(file) else None, "path": str(path_of(file)), "size": file.size}
            told["files"][part] = {**place, "sha256": file.sha256, "present": part not in lacking}
            if part in lacking and is_remote(file):
                told["to_fetch"] += file.size
        if "config" not in lacking:
            tree = parse_toml(content(registered, "config").decode("utf-8"))
            told |= {kind: tree[kind]["name"] for kind in ("space", "tasks")}
        for part in lacking:
            if not is_remote(getattr(found, part)):
                content(registered, part)
    except HnasError as cause:
        told["error"] = str(cause)
    except (ValueError, LookupError, TypeError) as cause:
        told["error"] = f"its configuration is damaged: {cause}"
    return told


def text(registered: Registered, part: str) -> str | None:
    """Return the model card or the configuration as text; ``None`` if it is still to be fetched.

    Raises `DataError` if it is damaged.
    """
    if part not in ("card", "config") or part in missing(registered):
        return None
    return content(registered, part).decode("utf-8", "replace")  # type: ignore[arg-type]
