"""The task source `pictures`: one task, a folder with a few labelled pictures of each class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from attrs import frozen, validators
from numpy.typing import NDArray

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError
from hnas.layer import Shape
from hnas.settings import one_of, positive, setting
from hnas.task_source import Origin, Split, TaskSource
from hnas.toolkit.pictures import PictureTask
from hnas_plugins.tasks.folder.inventory import shown
from hnas_plugins.tasks.images.decoding import Damaged, decode_into, named, read_file
from hnas_plugins.tasks.pictures.folder import HINT, TaskFolder, read_task_folder, refuse
from hnas_plugins.tasks.sampling import assemble, draw_tasks


@frozen(kw_only=True)
class PicturesOptions:
    """Options of `Pictures`. `hnas adapt --pictures` sets them all; see `hnas.toolkit.pictures.Preparation`."""

    root: str = setting("", "folder that holds a sub-folder of labelled pictures for each class; required")
    channels: int = setting(3, "1 for grey, 3 for colour", one_of(1, 3))
    height: int = setting(84, "height of an image, pixels", positive)
    width: int = setting(84, "width of an image, pixels", positive)
    invert: bool = setting(False, "dark becomes bright: for drawings in dark ink", validators.instance_of(bool))


class Pictures(TaskSource):
    """A folder of pictures as one task. It has no classes to train on: tasks can be drawn for testing only."""

    def __init__(self, options: PicturesOptions | None = None) -> None:
        self._options = options or PicturesOptions()

    @property
    def image_shape(self) -> Shape:
        return self._options.channels, self._options.height, self._options.width

    def n_classes(self, split: Split) -> int:
        return len(read_task_folder(self._root).support) if split == "test" else 0

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        """Draw tasks of some of the classes and of their labelled pictures."""
        import torch

        if split != "test":
            raise DataError(
                f"pictures: a task folder has no classes for {split}: all of its pictures are one task",
                hint="train on another source, such as --tasks folder, and adapt to these with `hnas adapt --pictures`",
            )
        task = self.task()
        drawn = draw_tasks(generators, task.n_way, task.k_shot, spec, f"pictures: {self._root}")
        images = task.support[drawn.each_image(drawn.classes), drawn.images]
        return assemble(torch.from_numpy(images), len(drawn), spec)

    def origin(self) -> Origin:
        path = self._root if self._options.root else None
        return Origin(
            path=path, licence="that of your pictures", how="give a folder of your own to hnas adapt --pictures"
        )

    def check(self) -> str:
        task = self.task()
        tested = f"{task.n_query} query pictures" if task.n_query else "no query pictures"
        return f"{task.n_way} classes with {task.k_shot} labelled pictures each; {tested}"

    def task(self) -> PictureTask:
        folder = read_task_folder(self._root)
        support = self._read_all(folder, [(c.path / name) for c in folder.support for name, _, _ in c.files])
        by_name = {c.name: c for c in folder.query}
        query = [
            self._read_all(folder, [c.path / name for name, _, _ in c.files] if c else [])
            for c in (by_name.get(s.name) for s in folder.support)
        ]
        digest = hashlib.sha256("\0".join(folder.names).encode())
        for part in (support, *query):
            digest.update(repr(part.shape).encode() + part.tobytes())
        return PictureTask(
            classes=folder.names,
            support=support.reshape(len(folder.support), folder.k_shot, *self.image_shape),
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
            raise refuse("no folder was named")
        return Path(self._options.root).expanduser()

    def _read_all(self, folder: TaskFolder, paths: Sequence[Path]) -> NDArray[np.float32]:
        images, damaged = self._decoded(paths)
        if damaged:
            raise DataError(
                f"pictures: {len(damaged)} of {len(paths)} pictures in {folder.root} cannot be used: {named(damaged)}",
                hint=f"replace them, or take them out of the folder; {HINT}",
            )
        return images

    def _decoded(self, paths: Sequence[Path]) -> tuple[NDArray[np.float32], list[Damaged]]:
        """Return images (N, C, H, W) and which of them are damaged."""
        channels, height, width = self.image_shape
        array = np.zeros((len(paths), height, width, channels), np.uint8)
        pictures = [(shown(str(path)), partial(read_file, path)) for path in paths]
        damaged = decode_into(array, pictures, what="pictures: decoding", crop=True)
        if self._options.invert:
            array = 255 - array
        images = np.ascontiguousarray(array.transpose(0, 3, 1, 2), np.float32)
        return images * np.float32(1 / 255), damaged
