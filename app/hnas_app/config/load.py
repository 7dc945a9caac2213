"""Resolve a configuration: defaults < plugin defaults < preset < TOML file < environment < flags or arguments.

Mistakes are collected from all sources and reported together.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hnas.discovery import Kind, Registry
from hnas_app.config.mistakes import Mistakes
from hnas_app.config.resolver import Resolver
from hnas_app.config.schema import LoadedConfig
from hnas_app.config.sources import Entry, from_arguments, from_command_line, from_environment, from_file


def load_config(
    registry: Registry,
    *,
    preset: str | None = None,
    file: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    sets: Iterable[tuple[str, str]] = (),
    flags: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    run_dir: Path | None = None,
    instead: Collection[Kind] = (),
    only_read: bool = False,
) -> LoadedConfig:
    """Return the resolved configuration.

    ``sets`` are pairs of dotted key and text (``--set``); ``flags``, and ``arguments`` and ``settings`` of a Python
    program, map dotted keys to values of their own type; ``env`` is the process's environment unless given. If
    ``run_dir`` holds a run already and no file is given, the run's own configuration takes the file's place, so
    that settings need not be repeated. The file's plugins of the kinds ``instead`` do not count. In the file of a
    run, an option that a plugin no longer has is skipped if its value stands for the present behaviour.
    ``only_read`` is for runs that are not continued, and skips removed values, too. Raises `ConfigError` with every
    mistake, and `PluginError` for an unknown plugin or one that cannot be loaded.
    """
    own = run_dir / "config.toml" if run_dir is not None else None
    file = own if not file and own is not None and own.is_file() else file
    found, misspelt = from_environment(os.environ if env is None else env)
    mistakes = Mistakes(Path(file) if file else None)
    for text in misspelt:
        mistakes.add(1, text)
    resolver = Resolver(registry, mistakes, only_read=only_read)
    layers: list[Sequence[Entry]] = [
        [entry for entry in (from_file(Path(file)) if file else []) if entry.keys[0] not in instead],
        found,
        [
            *from_command_line(sets, {**(flags or {}), "preset": preset}),
            *from_arguments(settings or {}, arguments or {}),
        ],
    ]
    return resolver.resolve([resolver.known(i, layer) for i, layer in enumerate(layers)])
