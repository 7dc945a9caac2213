"""The data sets that tasks are drawn from: list them, fetch them, check them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hnas.discovery import Registered, Registry
from hnas.errors import ConfigError, DataError, HnasError
from hnas.task_source import SPLITS, TaskSource
from hnas.toolkit.remote_file import RemoteFile
from hnas_app.usecases.download import ELSEWHERE, Progress, download

if TYPE_CHECKING:
    from hnas_app.config.schema import Config


def sources(registry: Registry) -> list[dict[str, Any]]:
    """Describe every task source as JSON: what it needs, where that is looked for, and how to get it."""
    return [_row(registry, found) for found in registry.list("tasks")]


def fetch(
    registry: Registry,
    name: str,
    data_root: Path | None,
    *,
    say: Callable[[str], None],
    progress: Callable[[], Progress],
) -> bool:
    """Download a data set, continuing where an earlier download stopped; complete data are left alone.

    ``say`` is called with a sentence for each file; ``progress`` makes the callback of its download. Returns whether
    the user must get the data by hand and name their folder. Raises `DataError`.
    """
    source = _source(registry, name, data_root)
    files, origin = source.remote_files(), source.origin()
    if not files:
        say(f"{name} is not downloaded: {origin.how}." if origin else f"{name} has nothing to download.")
    elif _complete(source, files):
        say(f"{name} is complete in {files[0].path.parent}: {source.check()}.")
    else:
        bring(files, say=say, progress=progress)
    return not files and origin is not None and origin.path is not None


def bring(
    files: Sequence[RemoteFile],
    *,
    say: Callable[[str], None],
    progress: Callable[[], Progress],
    elsewhere: str = ELSEWHERE,
) -> None:
    """Download files, those of a data set or of a super-net, but for those that are there and whole; see `fetch`."""
    for file in files:
        if file.path.is_file() and file.mismatch(file.path) is None:
            say(f"{file.path} is there already.")
            continue
        say(f"{file.url} (licence: {file.licence}) -> {file.path}")
        download(file, progress(), elsewhere=elsewhere)


def check(registry: Registry, config: Config) -> dict[str, Any]:
    """Read the data set of a configuration as its run will, and describe it as JSON.

    Raises `DataError` that names missing parts.
    """
    from hnas_app.runs.session import chosen
    from hnas_app.training.setup.returned import image_shape, n_classes

    source: TaskSource = chosen("tasks", config, registry)
    content = source.check()
    classes = {split: n_classes(source, split) for split in SPLITS}
    return {"name": config.tasks.name, "content": content, "classes": classes, "image_shape": image_shape(source)}


def _row(registry: Registry, found: Registered) -> dict[str, Any]:
    """Describe a task source, also one that cannot be made here."""
    row: dict[str, Any] = {
        "name": found.plugin.name,
        "summary": found.plugin.summary,
        "distribution": found.distribution,
        "origin": None,
        "files": [],
        "error": None,
    }
    try:
        source: TaskSource = registry.create("tasks", f"{found.plugin.name}@{found.distribution}")
        origin, files = source.origin(), source.remote_files()
    except HnasError as cause:
        return row | {"error": str(cause)}
    if origin is not None:
        row["origin"] = {
            "path": origin.path and str(origin.path),
            "present": origin.path is not None and origin.path.exists(),
            "licence": origin.licence,
            "how": origin.how,
        }
    row["files"] = [
        {"url": f.url, "path": str(f.path), "licence": f.licence, "present": f.path.is_file()} for f in files
    ]
    return row


def _source(registry: Registry, name: str, data_root: Path | None) -> TaskSource:
    options = registry.options_class("tasks", name)
    settings = {}
    if data_root is not None:
        if not attrs.has(options) or "root" not in attrs.fields_dict(options):
            raise ConfigError(f"{name} reads no files: it takes no --data-root", hint="leave --data-root out")
        settings["root"] = str(data_root)
    source: TaskSource = registry.create("tasks", name, options(**settings))
    return source


def _complete(source: TaskSource, files: Sequence[RemoteFile]) -> bool:
    """Return whether the data are there, however they came: judged by content, not by the files' checksums."""
    if not any(f.path.parent.is_dir() for f in files):
        return False
    try:
        source.check()
    except DataError:
        return False
    return True
