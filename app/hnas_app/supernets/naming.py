"""A word of the user that stands for a super-net: a run directory by its path, or a pre-trained one by its name."""

from __future__ import annotations

import os
from pathlib import Path

from hnas.discovery import Registry
from hnas.errors import ConfigError, PluginError, close_matches, quoted
from hnas_app.runs.run_dir import is_sweep
from hnas_app.runs.run_list import run_named
from hnas_app.supernets.unpacking import unpacked


def run_or_supernet(name: str, registry: Registry) -> Path:
    """Return the run directory that a user means: a path has a slash or is a run's folder, all else is a name.

    A name is that of a run in ``runs/``, its id there, or that of a super-net, whose folder is the one it is `unpacked`
    in. Raises `ConfigError` for a word that is both, and
    `PluginError` for one that is neither.
    """
    word = run_named(name)
    if os.sep in name or name in (".", ".."):
        return word
    is_run = (word / "run.json").is_file() or is_sweep(word)
    is_name = any(name.partition("@")[0] == r.plugin.name for r in registry.list("supernet"))
    if is_run and is_name:
        path = quoted(word) if os.sep in str(word) else f"./{quoted(word)}"
        raise ConfigError(
            f"{name!r} is a run directory here, and the name of a super-net",
            hint=f"write {path} for the folder; rename it, or start in another folder, for the super-net",
        )
    if is_run or (word.exists() and not is_name):
        return word
    if not is_name:
        known = sorted({r.plugin.name for r in registry.list("supernet")})
        listed = f" Super-nets: {', '.join(known)}." if known else ""
        raise PluginError(
            f"{name!r} is neither a run directory nor a super-net.{close_matches(name, known)}{listed}",
            hint="`hnas runs` lists the runs, `hnas supernets list` the super-nets",
        )
    return unpacked(registry.get("supernet", name), registry).path
