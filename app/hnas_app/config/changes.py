"""Differences between a run's configuration and the one that it is resumed with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hnas.errors import ConfigError, DataError
from hnas.toolkit.files import checksum, read_bytes
from hnas_app.config.dump import at_default, dump_toml
from hnas_app.config.removed import removed_in
from hnas_app.config.schema import Config
from hnas_app.config.toml import parse_toml

NOT_RESULTS = frozenset({"workers", "executor", "accelerator", "tasks.root"})
"""Keys that a resumed run may change, because results do not depend on them."""


_CHECKSUM = re.compile(r"^# checksum ([0-9a-f]{32})\b", re.MULTILINE)


def with_checksum(text: str) -> str:
    """Return the text of a run's configuration with a last line that holds the checksum of its values."""
    told = "of the values that results depend on; with other values, start another run"
    return f"{text}\n# checksum {_checksum(parse_toml(text))} {told}\n"


def check_file(path: Path, *, needed: bool) -> None:
    """Raise `DataError` if a run's file does not hold the values that the run was made with.

    ``needed`` is false for runs of an older hnas, which wrote no checksum. Values that a resumed run may change, and
    comments, may be edited.
    """
    tree = _tree(path)
    told = _CHECKSUM.search(path.read_text(encoding="utf-8"))
    if (told or needed) and (told is None or told[1] != _checksum(tree)):
        raise DataError(
            f"{path} is damaged or was edited: its checksum does not hold, or is missing",
            hint=f"undo the edit; for other settings start another run, such as `hnas run --config {path}` or "
            f"`hnas adapt {path.parent} --set KEY=VALUE`",
        )


def config_changes(path: Path, config: Config, *, only_read: bool = False) -> list[str]:
    """Compare ``config`` with the run's file ``path``. Raises `ConfigError` with every change that results depend on.

    Returns a sentence for each other value that differs. An option that the run's file lacks came with a newer version
    of hnas or of a plugin; its default is taken to be the behaviour from before. Removed options are passed over as by
    `load_config`.
    """
    differs, new, removed = _differences(path, config, only_read=only_read)
    if wrong := {k: v for k, v in differs.items() if k not in NOT_RESULTS and k not in new}:
        listed = "\n".join(
            f"{k}: {old!r} in the run, {'removed since' if k in removed else f'{new!r} now'}"
            for k, (old, new) in wrong.items()
        )
        raise ConfigError(
            f"the configuration differs from that of the run {path.parent}:\n{listed}",
            hint="leave these settings out to go on with the run's own, or start a new run without --run-dir",
        )
    return [
        f"{k} is new since the run began; it is {value!r}"
        if k in new
        else f"{k} is {value!r} now, {old!r} when the run began"
        for k, (old, value) in differs.items()
    ]


def changed_values(path: Path, config: Config) -> dict[str, tuple[Any, Any]]:
    """Return the values in a run's file ``path`` and in ``config`` that differ, by dotted key.

    Of a plugin that is another one only the name is returned. Options that are new, as in `config_changes`, and the
    keys of `NOT_RESULTS` are left out.
    """
    differs, new, _ = _differences(path, config)
    others = {k.removesuffix("name") for k in differs if k.endswith(".name")}
    kept = [k for k in differs if k not in NOT_RESULTS and k not in new]
    return {k: differs[k] for k in kept if k.endswith(".name") or f"{k.partition('.')[0]}." not in others}


def _differences(
    path: Path, config: Config, *, only_read: bool = False
) -> tuple[dict[str, tuple[Any, Any]], set[str], Mapping[str, Any]]:
    """Return what differs by dotted key, the keys among these that are new options, and the run's removed values."""
    before, removed = recorded_values(path), removed_values(path, config)
    now = _flat(parse_toml(dump_toml(config)))
    passed = {k for k in removed_in(config) if (only_read if k in removed else k not in now)}
    keys = [k for k in dict.fromkeys([*before, *now]) if k not in passed]
    differs = {k: (before.get(k), now.get(k)) for k in keys if before.get(k) != now.get(k)}
    return differs, {k for k in differs if k not in before} & at_default(config), removed


def removed_values(path: Path, config: Config) -> dict[str, Any]:
    """Return the values in a run's file, by dotted key, that the options of the chosen plugins no longer have."""
    before = recorded_values(path)
    return {k: before[k] for k, values in removed_in(config).items() if before.get(k) in values}


def recorded_values(path: Path) -> dict[str, Any]:
    """Return the values in a run's file by dotted key. Raises `DataError` if it is missing or damaged."""
    return _flat(_tree(path))


def _checksum(tree: Mapping[str, Any]) -> str:
    return checksum({key: repr(value) for key, value in _flat(tree).items() if key not in NOT_RESULTS})


def _tree(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_bytes(path).decode("utf-8-sig"))
    except (OSError, ValueError) as cause:
        raise DataError(f"{path} is missing or damaged: {cause}") from cause


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
