"""The task source `torchmeta`, and any three torchmeta `MetaDataset`s as a task source."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError
from hnas.layer import Shape
from hnas.settings import one_of, setting
from hnas.task_source import SPLITS, Split, TaskSource
from hnas_plugins.tasks.data_root import SPLIT_NAMES, data_root, root_setting
from hnas_plugins.tasks.images.content import content_digest
from hnas_plugins.tasks.sampling import assemble
from hnas_plugins.tasks.torchmeta.importing import import_torchmeta
from hnas_plugins.tasks.torchmeta.task import MetaDataset, draw_task, size

if TYPE_CHECKING:
    from torch import Tensor

Maker = Callable[[EpisodeSpec], MetaDataset]
"""Makes the data set for a size of tasks."""
DATASETS = ("omniglot", "miniimagenet", "tieredimagenet", "cifar_fs", "fc100", "cub", "doublemnist", "triplemnist")
"""The functions of `torchmeta.datasets.helpers` that make tasks of classification."""
_SMALLEST = EpisodeSpec(n_way=2, k_shot=1, n_query=1)
_REMEMBERED = 8
"""Data sets kept open: one for each split and size of tasks. Phases differ in their query images."""


@frozen(kw_only=True)
class TorchmetaOptions:
    """Options of `open_torchmeta`."""

    dataset: str = setting("omniglot", "which of torchmeta's data sets", one_of(*DATASETS))
    root: str = root_setting("torchmeta's, such as omniglot/ with data.hdf5", "torchmeta")
    download: bool = setting(False, "let torchmeta download missing files; it unpickles some of them")


def open_torchmeta(options: TorchmetaOptions) -> MetaDatasetTasks:
    """Return the tasks of one of torchmeta's own data sets, as its helper makes them. Nothing is imported yet."""
    splits = {split: partial(_make, options, split) for split in SPLITS}
    return MetaDatasetTasks(**splits, name=f"torchmeta's {options.dataset}")


def _make(options: TorchmetaOptions, split: Split, spec: EpisodeSpec) -> MetaDataset:
    root = data_root(options.root, "torchmeta")
    helper = getattr(import_torchmeta().datasets.helpers, options.dataset)
    try:
        made: MetaDataset = helper(
            str(root),
            shots=spec.k_shot,
            ways=spec.n_way,
            test_shots=spec.n_query,
            meta_split=SPLIT_NAMES[split][0],
            download=options.download,
        )
    except (RuntimeError, OSError, ValueError) as cause:
        raise DataError(
            f"torchmeta's {options.dataset} cannot be opened in {root}: {cause}",
            hint="--data-root names the folder that holds torchmeta's own, such as omniglot/ with data.hdf5 and "
            "vinyals_train_labels.json",
        ) from cause
    return made


class MetaDatasetTasks(TaskSource):
    """The tasks of three `MetaDataset`s that have a splitter, or of three functions of a spec that make them.

    A function is called for each size of tasks that is needed. A data set has one size: its tasks must have ``n_way``
    classes, and at least as many images as needed; the first ones of each class are taken.
    """

    def __init__(
        self, *, train: MetaDataset | Maker, validation: MetaDataset | Maker, test: MetaDataset | Maker, name: str = ""
    ) -> None:
        self._given: dict[Split, Any] = {"train": train, "validation": validation, "test": test}
        self._name = name
        for split, given in self._given.items():
            if not callable(given):
                _checked(given, split)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let workers import torchmeta before they unpickle its objects, if this process has imported it."""
        return _blank, (type(self), "torchmeta" in sys.modules), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        """Close the files of data sets that were read, which do not pickle. torchmeta opens them again when needed."""
        for given in self._given.values():
            close = getattr(getattr(given, "dataset", None), "close", None)
            if close is not None:
                close()
        return super().__getstate__()

    @cached_property
    def image_shape(self) -> Shape:
        channels, height, width = self._draw("train", _SMALLEST, 0)[0].shape[2:]
        return channels, height, width

    def n_classes(self, split: Split) -> int:
        dataset = self._dataset(split, _SMALLEST)
        classes = getattr(dataset, "dataset", None)  # of a CombinationMetaDataset; augmented classes count as classes
        if not isinstance(classes, Sized):
            raise DataError(
                f"{self._what(split)}: a {type(dataset).__name__} does not say how many classes it has",
                hint="give it an attribute 'dataset' of that length, as torchmeta's CombinationMetaDataset has",
            )
        return len(classes)

    def class_digests(self, split: Split) -> Mapping[str, str]:
        """Return digests of the number of images of each class, and of its first and last one.

        Data sets are known that are made like torchmeta's own: with ``labels``, and ``data`` in each class.
        """
        classes: Any = getattr(self._dataset(split, _SMALLEST), "dataset", None)
        data = {str(name): getattr(classes[i], "data", None) for i, name in enumerate(getattr(classes, "labels", ()))}
        return {} if any(images is None for images in data.values()) else {n: _content(d) for n, d in data.items()}

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        import torch

        tasks = [self._fitting(split, spec, int(generator.integers(1 << 32))) for generator in generators]
        images = torch.cat([half.flatten(0, 1) for halves in zip(*tasks, strict=True) for half in halves])
        return assemble(images, len(tasks), spec)

    def check(self) -> str:
        for split in SPLITS:
            self._require_shape(split, self._draw(split, _SMALLEST, 0)[0])
        return f"tasks of {size(self.image_shape)} images from all three splits"

    @cached_property
    def _dataset(self) -> Callable[[Split, EpisodeSpec], MetaDataset]:
        return lru_cache(maxsize=_REMEMBERED)(self._open)

    def _open(self, split: Split, spec: EpisodeSpec) -> MetaDataset:
        given = self._given[split]
        return _checked(given(spec), split) if callable(given) else given

    def _draw(self, split: Split, spec: EpisodeSpec, seed: int) -> tuple[Tensor, Tensor]:
        return draw_task(self._dataset(split, spec), seed, self._what(split, spec))

    def _fitting(self, split: Split, spec: EpisodeSpec, seed: int) -> tuple[Tensor, Tensor]:
        """Draw a task and cut it to ``spec``. Raises `DataError` if it does not fit."""
        support, query = self._draw(split, spec, seed)
        (n_way, k_shot), n_query = support.shape[:2], query.shape[1]
        if n_way != spec.n_way or k_shot < spec.k_shot or n_query < spec.n_query:
            raise DataError(
                f"{self._what(split)}: tasks have {n_way} classes of {k_shot} support and {n_query} query images; "
                f"{spec.n_way} classes of {spec.k_shot} and {spec.n_query} were asked for",
                hint="make its splitter for these numbers, or set task.n_way, task.k_shot and n_query of the phases",
            )
        self._require_shape(split, support)
        return support[:, : spec.k_shot], query[:, : spec.n_query]

    def _require_shape(self, split: Split, images: Tensor) -> None:
        seen, expected = size(images.shape[2:]), size(self.image_shape)
        if seen != expected:
            raise DataError(
                f"{self._what(split)}: a task has {seen} images, the first one drawn has {expected}",
                hint="let the transforms of all three data sets give one size and number of channels",
            )

    def _what(self, split: Split, spec: EpisodeSpec | None = None) -> str:
        """Name a split for an error, with the size of the tasks if its data set was made for that size."""
        given = self._given[split]
        size = f" of {spec.n_way} classes of {spec.k_shot}+{spec.n_query} images" if spec and callable(given) else ""
        name = self._name or (type(self) if callable(given) else type(given)).__name__
        return f"{name}, {split} split{size}"


def _content(images: Any) -> str:
    """Return a digest of the images of a class, which may be an HDF5 data set: reading all would take too long."""
    ends = (np.ascontiguousarray(images[i]).tobytes() for i in sorted({0, len(images) - 1}) if i in range(len(images)))
    return content_digest([str(len(images)).encode(), *ends])


def _blank(cls: type[MetaDatasetTasks], with_torchmeta: bool) -> MetaDatasetTasks:
    if with_torchmeta:
        import_torchmeta()
    return cls.__new__(cls)


def _checked(dataset: Any, split: Split) -> MetaDataset:
    if not (callable(getattr(dataset, "seed", None)) and callable(getattr(dataset, "sample_task", None))):
        raise DataError(
            f"{split}: got a {type(dataset).__name__}, expected a MetaDataset, with seed and sample_task",
            hint="give torchmeta's MetaDataset, or a function that makes one for an EpisodeSpec",
        )
    found: MetaDataset = dataset
    return found
