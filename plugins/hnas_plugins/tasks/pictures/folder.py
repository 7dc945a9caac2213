"""Find the classes of a task folder: ``DIR/<class>/*`` to adapt to, perhaps ``DIR/query/<class>/*`` to test with."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from hnas.errors import DataError, close_matches, first_few
from hnas_plugins.tasks.folder.inventory import ClassFolder, class_folders, shown

QUERY = "query"
HINT = (
    "a task folder holds a sub-folder for each class with its labelled pictures directly in it, as many for one class "
    "as for another: DIR/cat/1.jpg, DIR/dog/1.jpg, …; DIR/query/cat/9.jpg, … are for testing"
)


@frozen(kw_only=True)
class TaskFolder:
    """The classes of a task folder, in the order of their names, and their query pictures where there are any."""

    root: Path
    support: tuple[ClassFolder, ...]
    query: tuple[ClassFolder, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(shown(c.name) for c in self.support)

    @property
    def k_shot(self) -> int:
        return len(self.support[0].files)


def read_task_folder(root: Path) -> TaskFolder:
    """List the pictures of a task. Raises `DataError` that says what is needed and what was found."""
    if not root.is_dir():
        raise refuse(f"{root} is a file, not a folder" if root.exists() else f"there is no folder {root}")
    try:
        support, bare = class_folders(root, root)
        apart = root / QUERY
        # A class may be called query, too: then its pictures are directly in it.
        has_query = apart.is_dir() and QUERY not in [c.name for c in support]
        query, _ = class_folders(root, apart) if has_query else ([], [])
    except OSError as cause:
        raise refuse(f"{shown(str(cause.filename or root))}: {cause.strerror or cause}") from cause
    empty = [b for b in bare if not (has_query and b.startswith(f"{QUERY} has "))]
    folder = TaskFolder(root=root, support=tuple(support), query=tuple(query))
    _check(folder, empty)
    return folder


def _check(folder: TaskFolder, empty: list[str]) -> None:
    root, found = folder.root, _counts(folder.support)
    if empty:
        raise refuse(f"every class of {root} needs labelled pictures, but {first_few(empty)}; found: {found}")
    if len(folder.support) < 2:
        raise refuse(f"{root} needs at least 2 classes of labelled pictures; found: {found}")
    counts = [len(c.files) for c in folder.support]
    if len(set(counts)) > 1:
        few = min(counts)
        raise DataError(
            f"pictures: every class of {root} needs the same number of labelled pictures; found: {found}",
            hint=f"leave {few} in each, and move the others to {root / QUERY}/<class>/, where they test the network",
        )
    known = [c.name for c in folder.support]
    if unknown := [c.name for c in folder.query if c.name not in known]:
        raise refuse(
            f"{root / QUERY} has pictures of {first_few([shown(n) for n in unknown])}, which is no class of the task."
            f"{close_matches(unknown[0], known)} Its classes: {first_few(list(folder.names))}"
        )


def _counts(classes: tuple[ClassFolder, ...]) -> str:
    return first_few([f"{shown(c.name)} with {len(c.files)}" for c in classes], most=12) or "none"


def refuse(why: str) -> DataError:
    """Return the error for a folder that is no task."""
    return DataError(f"pictures: {why}", hint=HINT)
