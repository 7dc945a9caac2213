"""The task source `pictures`: one task, a folder with a few labelled pictures of each class."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from attrs import frozen, validators
from numpy.typing import NDArray

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError, close_matches, first_few, shown
from hnas.layer import Shape
from hnas.settings import one_of, positive, setting
from hnas.task_source import Origin, Split, TaskSource
from hnas.toolkit.pictures import PictureTask
from hnas_plugins.tasks.folder.inventory import ClassFolder, class_folders
from hnas_plugins.tasks.images.decoding import ENDINGS, Damaged, decode_into, named, one_colour, read_file
from hnas_plugins.tasks.sampling import assemble, draw_tasks

_QUERY = "query"
_HINT = (
    "a task folder holds a sub-folder for each class with its labelled pictures directly in it: "
    "DIR/cat/1.jpg, DIR/dog/1.jpg, …; DIR/query/cat/9.jpg, … are for testing; "
    f"{ENDINGS}"
)


@frozen(kw_only=True)
class PicturesOptions:
    """Options of `Pictures`. `hnas adapt --pictures` sets them all; see `hnas.toolkit.pictures.Preparation`."""

    root: str = setting("", "folder that holds a sub-folder of labelled pictures for each class; required")
    channels: int = setting(3, "1 for grey, 3 for colour", one_of(1, 3))
    height: int = setting(84, "height of an image, pixels", positive, most=4096)
    width: int = setting(84, "width of an image, pixels", positive, most=4096)
    invert: bool = setting(False, "dark becomes bright: for drawings in dark ink", validators.instance_of(bool))


class Pictures(TaskSource):
    """A folder of pictures as one task. It has no classes to train on: tasks can be drawn for testing only."""

    def __init__(self, options: PicturesOptions | None = None) -> None:
        self._options = options or PicturesOptions()

    @property
    def image_shape(self) -> Shape:
        return self._options.channels, self._options.height, self._options.width

    def n_classes(self, split: Split) -> int:
        return len(_read_task_folder(self._root)[0]) if split == "test" else 0

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        """Draw tasks of some of the classes and of their labelled pictures."""
        import torch

        if split != "test":
            raise DataError(
                f"pictures: a task folder has no classes for {split}: all of its pictures are one task",
                hint="train on another source, such as --tasks folder, and adapt to these with `hnas adapt --pictures`",
            )
        task = self.task()
        shots = np.array(task.shots)
        drawn = draw_tasks(generators, task.n_way, shots, spec, f"pictures: {self._root}", task.classes)
        first = np.cumsum(shots) - shots  # of each class, among all
        images = np.concatenate(task.support)[first[drawn.each_image(drawn.classes)] + drawn.images]
        return assemble(torch.from_numpy(images), len(drawn), spec, drawn.classes)

    def origin(self) -> Origin:
        path = self._root if self._options.root else None
        return Origin(
            path=path, licence="that of your pictures", how="give a folder of your own to hnas adapt --pictures"
        )

    def check(self) -> str:
        task = self.task()
        tested = f"{task.n_query} query pictures" if task.n_query else "no query pictures"
        fewest = min(task.shots)
        each = f"{fewest} to {task.k_shot}" if fewest < task.k_shot else task.k_shot
        return f"{task.n_way} classes with {each} labelled pictures each; {tested}"

    def task(self) -> PictureTask:
        folders, queries = _read_task_folder(self._root)
        support = self._read_all([path for folder in folders for path in folder.paths])
        query = [self._read_all(queries[c.name].paths if c.name in queries else []) for c in folders]
        if (support == support[:1]).all():
            raise DataError(
                f"pictures: all {len(support)} labelled pictures in {self._root} became the same image",
                hint="look at them: they may be copies, or of one colour all over",
            )
        names = tuple(shown(c.name) for c in folders)
        shots = [len(folder.paths) for folder in folders]
        digest = hashlib.sha256("\0".join(names).encode())
        if len(set(shots)) > 1:  # equal numbers follow from the shape
            digest.update(repr(shots).encode())
        for part in (support, *query):
            digest.update(repr(part.shape).encode() + part.tobytes())
        return PictureTask(
            classes=names,
            support=tuple(np.split(support, np.cumsum(shots)[:-1])),
            query=tuple(query),
            digest=digest.hexdigest(),
        )

    def read(self, path: Path) -> NDArray[np.float32]:
        if not path.is_file():
            raise DataError(f"{shown(str(path))}: {'it is no file' if path.exists() else 'there is no such file'}")
        images, damaged = self._decoded([path])
        if damaged:
            raise DataError(f"{shown(str(path))}: {damaged[0].cause}")
        image: NDArray[np.float32] = images[0]
        return image

    @property
    def _root(self) -> Path:
        if not self._options.root:
            raise _refuse("no folder was named")
        return Path(os.path.expanduser(self._options.root))

    def _read_all(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        images, damaged = self._decoded(paths)
        if damaged:
            raise DataError(
                f"pictures: {len(damaged)} of {len(paths)} pictures in {self._root} cannot be used: {named(damaged)}",
                hint=f"replace them, or take them out of the folder; {_HINT}",
            )
        return images

    def _decoded(self, paths: Sequence[Path]) -> tuple[NDArray[np.float32], list[Damaged]]:
        """Return images (N, C, H, W) and which of them are damaged."""
        channels, height, width = self.image_shape
        array = np.zeros((len(paths), height, width, channels), np.uint8)
        pictures = [(shown(str(path)), partial(read_file, path)) for path in paths]
        damaged = decode_into(array, pictures, what="pictures: decoding", crop=True)
        lost = {d.index for d in damaged}
        if plain := [pictures[i][0] for i in one_colour(array) if i not in lost]:
            told = first_few(plain)
            print(f"hnas: warning: pictures: {len(plain)} have one colour all over: {told}", file=sys.stderr)
        if self._options.invert:
            array = 255 - array
        images = np.ascontiguousarray(array.transpose(0, 3, 1, 2), np.float32)
        return images * np.float32(1 / 255), damaged


def _read_task_folder(root: Path) -> tuple[list[ClassFolder], dict[str, ClassFolder]]:
    """List the classes of a task in the order of their names, and those with query pictures by name.

    Raises `DataError` with the layout that is needed and the one that was found.
    """
    if not root.is_dir():
        raise _refuse(f"{root} is a file, not a folder" if root.exists() else f"there is no folder {root}")
    try:
        support, bare, unread = class_folders(root, root)
        apart = root / _QUERY
        # A class may be called query, too: then its pictures are directly in it.
        has_query = apart.is_dir() and _QUERY not in [c.name for c in support]
        query, _, more = class_folders(root, apart) if has_query else ([], [], [])
    except OSError as cause:
        raise _refuse(f"{shown(str(cause.filename or root))}: {cause.strerror or cause}") from cause
    if unread := [*unread, *more]:
        raise DataError(
            f"pictures: {len(unread)} pictures in {root} are of kinds that are not read: {first_few(unread)}",
            hint=f"save them as JPEG or PNG, or take them out of the folder; {_HINT}",
        )
    found = first_few([f"{shown(c.name)} with {len(c.files)}" for c in support], most=12) or "none"
    if empty := [b for b in bare if not (has_query and b.startswith(f"{_QUERY} has "))]:
        raise _refuse(f"every class of {root} needs labelled pictures, but {first_few(empty)}; found: {found}")
    if len(support) < 2:
        raise _refuse(f"{root} needs at least 2 classes of labelled pictures; found: {found}")
    known = [c.name for c in support]
    if unknown := [c.name for c in query if c.name not in known]:
        raise _refuse(
            f"{apart} has pictures of {first_few(map(shown, unknown))}, which is no class of the task."
            f"{close_matches(unknown[0], known)} Its classes: {first_few(map(shown, known))}"
        )
    return support, {c.name: c for c in query}


def _refuse(why: str) -> DataError:
    """Return the error for a folder that is no task."""
    return DataError(f"pictures: {why}", hint=_HINT)
