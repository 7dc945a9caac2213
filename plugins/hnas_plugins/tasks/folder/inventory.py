"""Find the classes of a user's own folder and the pictures in them, without opening any, and divide the classes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from attrs import field, frozen, mutable

from hnas.errors import DataError, first_few, shown
from hnas.task_source import SPLITS, Split
from hnas_plugins.tasks.data_root import SPLIT_NAMES
from hnas_plugins.tasks.images.decoding import ENDINGS, UNREAD, is_picture

HINT = (
    "expected is a sub-folder for each class with its pictures directly in it, such as DIR/cat/1.jpg; "
    f"or DIR/train, DIR/val and DIR/test, each with such sub-folders; {ENDINGS}"
)
SHARES: dict[Split, float] = {"train": 0.64, "validation": 0.16, "test": 0.20}
"""Shares of all classes, as in Mini-ImageNet."""
USUAL_WAY = 5
"""The classes that each split gets before the shares count: as many as the usual task needs."""
_DEEPER = "images"
"""The folder in a class's own that may hold its pictures, as in Tiny-ImageNet."""
FEWEST = 2 * len(SPLITS)
"""The fewest classes: each split needs two, the fewest that a task can distinguish."""


@frozen(kw_only=True)
class ClassFolder:
    """A class: a folder, and the pictures directly in it."""

    name: str
    path: Path
    """The folder with the pictures: that of the class, or `_DEEPER` in it."""
    split: Split | None
    """Where the folder says it."""
    files: tuple[tuple[str, int, int], ...]
    """Names in order, sizes in bytes, times of the last change."""

    @property
    def label(self) -> str:
        """The name for printing and for records, the same on systems that spell accented letters differently."""
        return unicodedata.normalize("NFC", shown(self.name))

    @property
    def paths(self) -> list[Path]:
        return [self.path / name for name, _, _ in self.files]


@frozen(kw_only=True)
class Inventory:
    """All classes that have pictures, and the other files and folders."""

    root: Path
    classes: tuple[ClassFolder, ...]
    """In the order of their names; if the folder gives the split, those for training first and those for test last."""
    others: int
    """Skipped files: hidden, not named like pictures, or not in the folder of a class."""
    bare: tuple[str, ...]
    """Folders without pictures, and their content."""
    unread: tuple[str, ...]
    """The others that are pictures of kinds that are not decoded."""

    @property
    def given(self) -> bool:
        """Whether the folder divides the classes into splits."""
        return self.classes[0].split is not None

    @property
    def fingerprint(self) -> object:
        """A JSON text that changes with any picture."""
        return [str(self.root.resolve()), [[str(c.path.relative_to(self.root)), c.files] for c in self.classes]]


def take_inventory(root: Path) -> Inventory:
    """List the classes below ``root``. Raises `DataError` if it is not laid out as expected.

    Links to folders and files are followed; a folder may be reached in one way only, and must not lead back up.
    """
    try:
        return _take_inventory(root)
    except OSError as cause:
        raise _refuse(f"{shown(str(cause.filename or root))}: {cause.strerror or cause}") from cause


def is_tiny_imagenet(root: Path) -> bool:
    """Return whether a folder has the layout of Tiny-ImageNet.

    Its ``val`` has one folder for the pictures of all classes, which are those of ``train``; ``test`` has no classes.
    """
    return (root / "train").is_dir() and (root / "val" / "val_annotations.txt").is_file()


def class_folders(root: Path, folder: Path) -> tuple[list[ClassFolder], list[str], list[str]]:
    """Return the classes right in ``folder``, which is in ``root``, a sentence on each sub-folder without pictures, and
    the pictures of kinds that are not decoded.

    Raises `DataError` as `take_inventory` does, and `OSError`.
    """
    finds = _Finds()
    return list(_scan(root, folder, None, finds)), finds.bare, finds.unread


def split_sizes(n_classes: int) -> dict[Split, int]:
    """Divide ``n_classes``, at least `FEWEST`, among the splits: each gets its share, and at least `USUAL_WAY`.

    If there are too few for that, each gets a third, and training the remainder.
    """
    at_least = min(USUAL_WAY, n_classes // len(SPLITS))
    validation, test = (max(at_least, round(SHARES[s] * n_classes)) for s in SPLITS[1:])
    return {"train": n_classes - validation - test, "validation": validation, "test": test}


@mutable
class _Finds:
    """The findings of a scan so far."""

    deeper: bool = False
    """Whether pictures may be in `_DEEPER`."""
    real: dict[Path, str] = field(factory=dict)
    """The folders behind the links, by their real paths."""
    others: int = 0
    bare: list[str] = field(factory=list)
    unread: list[str] = field(factory=list)
    below: list[str] = field(factory=list)
    """A folder in each folder of `bare` that has one: pictures may be there."""


def _take_inventory(root: Path) -> Inventory:
    if not root.is_dir():
        raise _refuse(f"{root} is a file, not a folder" if root.exists() else f"there is no folder {root}")
    finds, found = _Finds(deeper=True), list[ClassFolder]()
    for split, path in _split_folders(root):
        found += _scan(root, path, split, finds)
    if not found:
        raise _refuse(f"{root} has no sub-folders of pictures; {finds.others} other files are in it{_bare(finds)}")
    inventory = Inventory(
        root=root,
        classes=tuple(found),
        others=finds.others,
        bare=tuple(finds.bare),
        unread=tuple(finds.unread),
    )
    _require_splits(inventory, _bare(finds))
    return inventory


def _bare(finds: _Finds) -> str:
    """Name the folders without pictures and those deeper, for a message."""
    deeper = f"; pictures in {finds.below[0]} would be too deep" if finds.below else ""
    return f"; {first_few(finds.bare)}{deeper}" if finds.bare else ""


def _split_folders(root: Path) -> list[tuple[Split | None, Path]]:
    """Return the folder of each split, or ``root`` if it holds classes itself; a class may be called train, too."""
    if is_tiny_imagenet(root):
        return [(None, root / "train")]
    there = {s: [root / n for n in names if (root / n).is_dir()] for s, names in SPLIT_NAMES.items()}
    present = {split: paths[0] for split, paths in there.items() if paths}
    if len(there["validation"]) > 1:
        raise _refuse(f"{root} has both val and validation")
    if len(present) == len(SPLITS):
        return [*present.items()]
    for path in present.values():
        with os.scandir(path) as entries:
            if any(e.is_dir() for e in entries) and not any(is_picture(p.name) for p in path.iterdir()):
                missing = [SPLIT_NAMES[s][0] for s in SPLITS if s not in present]
                has = " and ".join(p.name for p in present.values())
                raise _refuse(f"{root} has {has} with sub-folders, but no {' and no '.join(missing)}")
    return [(None, root)]


def _scan(root: Path, folder: Path, split: Split | None, finds: _Finds) -> Iterator[ClassFolder]:
    """Yield the classes in ``folder`` in the order of their names."""
    paths = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_dir():
                paths.append(folder / entry.name)
            elif not entry.is_dir():
                finds.others += 1
    for path in sorted(paths, key=lambda p: _order(p.name)):
        real, name = path.resolve(), shown(str(path.relative_to(root)))
        if root.resolve().is_relative_to(real):
            raise _refuse(f"{name} in {root} is a link that leads back to {real}")
        if real in finds.real:
            raise _refuse(f"{finds.real[real]} and {name} in {root} are the same folder, {real}")
        finds.real[real] = name
        holder, (files, others, folders) = path, _files(path)
        if finds.deeper and not files and _DEEPER in folders:
            holder = path / _DEEPER
            files, more, _ = _files(holder)
            others += more
        finds.others += len(others)
        finds.unread += sorted(f"{name}/{shown(other)}" for other in others if is_picture(other, UNREAD))
        if files:
            yield ClassFolder(name=path.name, path=holder, split=split, files=tuple(files))
        else:
            finds.below += [f"{name}/{shown(folder)}" for folder in sorted(folders)[:1]]
            has = "only sub-folders" if folders else "no pictures"
            such = f", and other files such as {shown(min(others))}" if others else ""
            finds.bare.append(f"{name} has {has}{such}")


def _files(path: Path) -> tuple[list[tuple[str, int, int]], list[str], list[str]]:
    """Return the pictures directly in a folder, and the names of other files and of folders."""
    files, others, folders = [], list[str](), list[str]()
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                if entry.is_dir():
                    folders.append(entry.name)
                elif is_picture(entry.name) and entry.is_file():
                    status = entry.stat()
                    files.append((entry.name, status.st_size, status.st_mtime_ns))
                else:
                    others.append(entry.name)  # links that lead nowhere, too
            except OSError:  # a link that leads to itself
                others.append(entry.name)
    return sorted(files, key=lambda f: _order(f[0])), others, folders


def _require_splits(inventory: Inventory, bare: str) -> None:
    """Refuse too few classes for three splits, and splits that share classes."""
    classes, root = inventory.classes, inventory.root
    if not inventory.given:
        if len(classes) < FEWEST:
            raise _refuse(
                f"{root} has {len(classes)} classes of pictures; three splits of at least 2 classes each need {FEWEST}"
                f"{bare}"
            )
        return
    members = {s: {_order(c.name)[0] for c in classes if c.split == s} for s in SPLITS}
    if empty := [s for s in SPLITS if len(members[s]) < 2]:
        counts = ", ".join(f"{len(members[s])} for {s}" for s in empty)
        raise _refuse(f"{root} has too few classes of pictures, {counts}; each split needs at least 2{bare}")
    for split, other in combinations(SPLITS, 2):
        if both := sorted(members[split] & members[other]):
            raise DataError(
                f"folder: {len(both)} classes of {root} are in both the {split} and the {other} split: "
                f"{first_few(map(shown, both))}",
                hint="few-shot learning is tested on classes that were not trained on: put all pictures of a class "
                "into one folder, in one split; or all classes directly into DIR, and hnas divides them",
            )


def _order(name: str) -> tuple[str, str]:
    """Sort names alike on systems that spell an accented letter as one character and as two."""
    return unicodedata.normalize("NFC", name), name


def _refuse(why: str) -> DataError:
    return DataError(f"folder: {why}", hint=HINT)
