"""One task of a torchmeta `MetaDataset`: drawn by a seed, put into hnas's order, and checked."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hnas.errors import DataError, short

if TYPE_CHECKING:
    from torch import Tensor

_SPLIT_HINT = "split its tasks: ClassSplitter(dataset, num_train_per_class=…, num_test_per_class=…) of torchmeta"
_LABEL_HINT = "give the dataset target_transform=Categorical(n_way), as torchmeta's helpers do"
_IMAGE_HINT = "give the dataset a transform that makes them, such as Compose([Resize((28, 28)), ToTensor()])"


class MetaDataset(Protocol):
    """The part of torchmeta's class of that name that is used.

    Its iterator is not used: that of `CombinationMetaDataset` fails.
    """

    def seed(self, seed: int) -> Any:
        """Seed the choice of classes and images."""

    def sample_task(self) -> Any:
        """Return a task: with a splitter, a mapping of ``train`` and ``test``, or ``support`` and ``query``."""


def draw_task(dataset: MetaDataset, seed: int, what: str) -> tuple[Tensor, Tensor]:
    """Draw the task that belongs to ``seed``, below 2³². ``what`` names the data set in the `DataError`.

    Returns its support and its query images, class by class: (n_way, images a class, C, H, W), float32.

    The order of labels comes from torch's global generator, which `MetaDataset.seed` does not set; transforms use any
    of the global ones. So these are seeded too, and put back afterwards.
    """
    try:
        with _seeded(seed):
            dataset.seed(seed)
            return _read_task(dataset.sample_task(), what)
    except (ValueError, LookupError, OSError, RuntimeError) as cause:  # too few classes or images; damaged files
        raise DataError(f"{what}: cannot draw a task: {cause}") from cause


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    states = torch.default_generator.get_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the accelerators' generators as well
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def _read_task(task: Any, what: str) -> tuple[Tensor, Tensor]:
    if not isinstance(task, Mapping):
        raise DataError(
            f"{what}: a task is a {type(task).__name__}, not split into support and query", hint=_SPLIT_HINT
        )
    support, query = (_half(task, keys, what) for keys in (("support", "train"), ("query", "test")))
    if len(support) != len(query):
        raise DataError(f"{what}: a task has {len(support)} classes in its support set, {len(query)} in its query set")
    if support.shape[2:] != query.shape[2:]:
        sizes = f"support images of {size(support.shape[2:])}, query images of {size(query.shape[2:])}"
        raise DataError(f"{what}: {sizes}", hint=_IMAGE_HINT)
    return support, query


def _half(task: Mapping[str, Any], keys: tuple[str, str], what: str) -> Tensor:
    """Return the images of one half of a task, class by class; those of a class stay in their order."""
    import torch

    key = next((k for k in keys if k in task), None)
    if key is None:
        seen = ", ".join(map(str, task)) or "nothing"
        raise DataError(f"{what}: a task holds {seen}; expected {' or '.join(keys)} in it", hint=_SPLIT_HINT)
    what = f"{what}, {key} set"
    classes: dict[int, list[Tensor]] = {}
    items = task[key]
    for i in range(len(items)):
        item = items[i]
        if not (isinstance(item, tuple | list) and len(item) == 2):
            raise DataError(f"{what}: an item is a {type(item).__name__}, expected a pair of image and label")
        classes.setdefault(_label(item[1], what), []).append(_image(item[0], what))
    counts = {label: len(classes[label]) for label in sorted(classes)}
    if list(counts) != list(range(len(counts))) or not counts:
        raise DataError(f"{what}: the labels are {list(counts)}, expected 0, 1, … n_way-1", hint=_LABEL_HINT)
    if len(set(counts.values())) > 1:
        raise DataError(f"{what}: classes have {list(counts.values())} images, expected as many in each")
    images = [image for label in counts for image in classes[label]]
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) > 1:
        raise DataError(f"{what}: images of {size(shapes[0])} and of {size(shapes[1])}", hint=_IMAGE_HINT)
    return torch.stack(images).float().view(len(counts), counts[0], *shapes[0])


def _label(label: Any, what: str) -> int:
    try:
        return operator.index(label)
    except TypeError as cause:
        raise DataError(f"{what}: a label is {short(label)}, expected an integer", hint=_LABEL_HINT) from cause


def _image(image: Any, what: str) -> Tensor:
    from torch import Tensor

    if not isinstance(image, Tensor):
        seen = f"a {type(image).__name__}"
    elif image.ndim != 3 or not image.is_floating_point():
        seen = f"a tensor of {size(image.shape)} {str(image.dtype).removeprefix('torch.')}"
    else:
        return image
    raise DataError(f"{what}: an image is {seen}, expected a tensor of CxHxW floats", hint=_IMAGE_HINT)


def size(shape: Iterable[int]) -> str:
    """Return a shape as text."""
    return "x".join(map(str, shape))
