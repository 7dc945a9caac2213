"""The torchmeta adapter, without torchmeta: its protocol is implemented here in small, with its own order and seeds."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hnas import DataError, Episodes, EpisodeSpec, PluginError
from hnas.discovery import Registry
from hnas.task_source import SPLITS
from hnas.testing import TasksConformance
from hnas_app.executors.local_processes import LocalProcesses
from hnas_plugins.tasks.torchmeta.adapter import MetaDatasetTasks, TorchmetaOptions, open_torchmeta
from hnas_plugins.tasks.torchmeta.importing import INSTALL, import_torchmeta

ROOT = Path(__file__).resolve().parents[3]
SPEC = EpisodeSpec(n_way=3, k_shot=2, n_query=4)
IMAGES = 20
"""Images of a class. Image ``i`` of class ``c`` has ``c`` in its first pixel and ``i`` in its second."""


class Classes:
    """Stands for torchmeta's ClassDataset: it has a length, and a file that does not pickle while it is open."""

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count, self.file = first, count, None

    def __len__(self) -> int:
        return self.count

    def close(self) -> None:
        self.file = None


class Stored(Classes):
    """Stands for a ClassDataset of torchmeta's own: with labels, and the images of each class as ``data``."""

    def __init__(self, first: int, count: int) -> None:
        super().__init__(first, count)
        self.labels = [f"class {first + i}" for i in range(count)]
        self.stored = np.arange(count * IMAGES * 4, dtype=np.uint8).reshape(count, IMAGES, 2, 2)

    def __getitem__(self, index: int) -> Any:
        return SimpleNamespace(data=self.stored[index])


class Drawn:
    """Stands for a CombinationMetaDataset with a ClassSplitter.

    Its classes come from its own generator, its labels from torch's global one, as in torchmeta, and its transform
    draws from Python's and numpy's global ones, as many do. Items stand in a random order.
    """

    def __init__(self, first: int, spec: EpisodeSpec, keys: tuple[str, str] = ("train", "test")) -> None:
        self.dataset, self.spec, self.keys = Classes(first, 10), spec, keys
        self.seed(0)

    def seed(self, seed: int) -> None:
        self.np_random = np.random.RandomState(seed)

    def sample_task(self) -> Any:
        self.dataset.file = (x for x in ())  # a generator does not pickle, as an open HDF5 file does not
        chosen = self.np_random.choice(len(self.dataset), self.spec.n_way, replace=False)
        labels = torch.randperm(self.spec.n_way).tolist()
        support, query = [], []
        for c, label in zip(chosen.tolist(), labels, strict=True):
            order = self.np_random.permutation(IMAGES).tolist()
            items = [(self.image(self.dataset.first + c, i), label) for i in order]
            support += items[: self.spec.k_shot]
            query += items[self.spec.k_shot : self.spec.k_shot + self.spec.n_query]
        self.np_random.shuffle(support)
        self.np_random.shuffle(query)
        return dict(zip(self.keys, (support, query), strict=True))

    def image(self, c: int, i: int) -> torch.Tensor:
        noise = random.random() + np.random.random()
        return torch.tensor([c, i, noise, 0.0], dtype=torch.float64).view(1, 2, 2)


class Changed:
    """A data set whose tasks went through ``change``."""

    def __init__(self, change: Any) -> None:
        self.inner, self.change = Drawn(0, SPEC), change

    def seed(self, seed: int) -> None:
        self.inner.seed(seed)

    def sample_task(self) -> Any:
        return self.change(self.inner.sample_task())


def fixed(spec: EpisodeSpec = SPEC, keys: tuple[str, str] = ("train", "test")) -> MetaDatasetTasks:
    return MetaDatasetTasks(train=Drawn(0, spec, keys), validation=Drawn(10, spec, keys), test=Drawn(20, spec, keys))


def made() -> MetaDatasetTasks:
    return MetaDatasetTasks(train=partial(Drawn, 0), validation=partial(Drawn, 10), test=partial(Drawn, 20), name="my")


def sample(source: MetaDatasetTasks, split: Any = "train", spec: EpisodeSpec = SPEC, seed: int = 0, n: int = 5):
    return source.sample(split, spec, [np.random.default_rng((seed, i)) for i in range(n)])


def same(a: Episodes, b: Episodes) -> bool:
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("support_x", "support_y", "query_x", "query_y"))


# ---------------------------------------------------------------- classes


def stored(first: int, spec: EpisodeSpec) -> Drawn:
    dataset = Drawn(first, spec)
    dataset.dataset = Stored(first, 10)
    return dataset


def test_classes_are_named_with_the_content_of_their_ends():
    made = MetaDatasetTasks(train=partial(stored, 0), validation=partial(stored, 10), test=partial(stored, 20))
    known = made.class_digests("train")
    assert list(known) == [f"class {i}" for i in range(10)]
    assert len(set(known.values())) == 10
    assert not set(known) & set(made.class_digests("test"))
    changed = stored(0, SPEC)
    changed.dataset.stored[3, -1] += 1
    changed.dataset.stored[4, 7] += 1  # in the middle, where nobody looks
    found = MetaDatasetTasks(train=changed, validation=changed, test=changed).class_digests("train")
    assert [name for name in known if known[name] != found[name]] == ["class 3"]


def test_nothing_is_known_of_the_classes_of_other_data_sets():
    assert fixed().class_digests("train") == {}


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize("keys", [("train", "test"), ("support", "query"), ("train", "query")])
@pytest.mark.parametrize("split", SPLITS)
def test_images_stand_class_by_class_whatever_order_they_came_in(split, keys):
    episodes = sample(fixed(keys=keys), split)
    assert episodes.support_x.shape == (5, 6, 1, 2, 2)
    assert episodes.query_x.shape == (5, 12, 1, 2, 2)
    assert episodes.support_x.dtype == torch.float32
    assert episodes.support_y.tolist() == [[0, 0, 1, 1, 2, 2]] * 5
    assert episodes.query_y.tolist() == [[0] * 4 + [1] * 4 + [2] * 4] * 5
    first = SPLITS.index(split) * 10
    for task in range(5):
        support, query = (x[task, :, 0, 0].int().tolist() for x in (episodes.support_x, episodes.query_x))
        classes = [c for c, _ in support[::2]]
        assert [c for c, _ in support] == np.repeat(classes, 2).tolist()
        assert [c for c, _ in query] == np.repeat(classes, 4).tolist()
        assert len(set(classes)) == 3
        assert set(classes) <= set(range(first, first + 10))
        assert len({tuple(image) for image in support + query}) == 18


def test_labels_keep_the_random_order_that_torchmeta_gives_them():
    """Classes in ascending order would let a learner guess that high classes have high labels."""
    classes = sample(fixed(), n=50).support_x[:, ::2, 0, 0, 0]
    assert 0 < (classes[:, 0] < classes[:, 1]).sum() < 50


def test_one_seed_is_one_stream_and_an_episode_does_not_depend_on_those_before():
    source = fixed()
    first = sample(source, seed=1)
    torch.rand(3), random.random(), np.random.random()
    assert same(first, sample(source, seed=1))
    assert same(first, sample(fixed(), seed=1))
    assert not same(first, sample(source, seed=2))
    one_by_one = [source.sample("train", SPEC, [np.random.default_rng((1, i))]) for i in range(5)]
    assert torch.equal(first.query_x, torch.cat([e.query_x for e in one_by_one]))


def test_the_global_generators_are_left_as_they_were():
    source = fixed()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]
    sample(source)
    with pytest.raises(DataError):
        sample(source, spec=EpisodeSpec(n_way=4, k_shot=1, n_query=1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]
    assert np.random.get_state()[2] == before[3]


def test_data_sets_are_made_for_each_size_and_kept():
    asked: list[EpisodeSpec] = []

    def make(spec: EpisodeSpec) -> Drawn:
        asked.append(spec)
        return Drawn(0, spec)

    source = MetaDatasetTasks(train=make, validation=make, test=make)
    larger = EpisodeSpec(n_way=5, k_shot=1, n_query=15)
    for spec in (SPEC, larger, SPEC, larger):
        assert sample(source, spec=spec).query_x.shape[1] == spec.n_way * spec.n_query
    assert sorted(map(str, asked)) == sorted(map(str, {SPEC, larger, *asked}))  # each once
    assert {SPEC, larger} < set(asked)


def test_of_a_fixed_data_set_with_more_images_the_first_ones_are_taken():
    source = fixed(EpisodeSpec(n_way=3, k_shot=5, n_query=15))
    whole = sample(source, spec=EpisodeSpec(n_way=3, k_shot=5, n_query=15))
    part = sample(source)
    assert torch.equal(part.support_x, whole.support_x.unflatten(1, (3, 5))[:, :, :2].flatten(1, 2))
    assert torch.equal(part.query_x, whole.query_x.unflatten(1, (3, 15))[:, :, :4].flatten(1, 2))
    for wrong in ((2, 2, 4), (3, 6, 4), (3, 2, 16)):
        with pytest.raises(DataError, match="Drawn, train split: tasks have 3 classes of 5 support and 15 query"):
            sample(source, spec=EpisodeSpec(**dict(zip(("n_way", "k_shot", "n_query"), wrong, strict=True))))


def _query_x(values: Mapping[str, MetaDatasetTasks], _: object) -> list[list[float]]:
    return sample(values["source"]).query_x.flatten(1).tolist()


def test_a_source_that_was_read_draws_the_same_in_a_worker_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])  # the worker imports this module, as tests.plugins.…
    with LocalProcesses(1) as worker:
        for source in (fixed(), made()):
            here = _query_x({"source": source}, None)
            worker.put(source=source)
            assert worker.map(_query_x, [None]) == [here]
            assert _query_x({"source": source}, None) == here  # what pickling closed is opened again


def test_shape_classes_and_check_tell_what_is_there():
    assert fixed().image_shape == (1, 2, 2)
    assert [made().n_classes(split) for split in SPLITS] == [10, 10, 10]
    assert made().check() == "tasks of 1x2x2 images from all three splits"
    with pytest.raises(DataError, match="train split: a Changed does not say how many classes it has"):
        MetaDatasetTasks(train=Changed(dict), validation=Changed(dict), test=Changed(dict)).n_classes("train")


# ---------------------------------------------------------------- what is refused


def broken(**halves: Any) -> Any:
    return lambda task: {**task, **halves}


def relabelled(label: Any) -> Any:
    return lambda task: {key: [(x, label(y)) for x, y in items] for key, items in task.items()}


def redrawn(image: Any, key: str = "train") -> Any:
    return lambda task: {**task, key: [(image(x, y), y) for x, y in task[key]]}


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        (lambda task: task["train"], "Changed, train split: a task is a list, not split", "ClassSplitter"),
        (lambda task: {"train": task["train"]}, "a task holds train; expected query or test in it", "ClassSplitter"),
        (broken(train=[]), r"train set: the labels are \[\]", "Categorical"),
        (broken(train=[(torch.rand(1, 2, 2), 0, 1)]), "train set: an item is a tuple, expected a pair", None),
        (relabelled(lambda y: y + 1), r"the labels are \[1, 2, 3\], expected 0, 1", "Categorical"),
        (relabelled(lambda y: ("Greek/character01", None)), r"a label is \('Greek/character01', None\)", "Categorical"),
        (lambda t: {**t, "test": [p for p in t["test"] if p[1] < 2]}, "3 classes in its support set, 2 in its", None),
        (lambda t: {**t, "train": t["train"][1:]}, r"train set: classes have \[.*1.*\] images, expected as", None),
        (redrawn(lambda x, y: x.numpy()), "train set: an image is a ndarray, expected a tensor", "ToTensor"),
        (redrawn(lambda x, y: x[0]), "an image is a tensor of 2x2 float64, expected a tensor of CxHxW", "ToTensor"),
        (redrawn(lambda x, y: x.byte(), "test"), "test set: an image is a tensor of 1x2x2 uint8", "ToTensor"),
        (redrawn(lambda x, y: torch.rand(1, 2, 2 + y % 2)), "train set: images of 1x2x2 and of 1x2x3", "Resize"),
        (redrawn(lambda x, y: x[..., :1]), "support images of 1x2x1, query images of 1x2x2", "Resize"),
    ],
)
def test_a_task_that_is_none_is_refused_with_what_was_seen(change, said, hint):
    source = MetaDatasetTasks(train=Changed(change), validation=Changed(change), test=Changed(change))
    with pytest.raises(DataError, match=said) as caught:
        sample(source)
    assert (hint or "") in (caught.value.hint or "")


def test_splits_with_images_of_different_sizes_are_refused():
    wide = Changed(lambda task: {k: [(torch.rand(1, 2, 3), y) for _, y in items] for k, items in task.items()})
    source = MetaDatasetTasks(train=Drawn(0, SPEC), validation=wide, test=Drawn(0, SPEC))
    with pytest.raises(DataError, match=r"Changed, validation split: a task has 1x2x3 images, the first .* 1x2x2"):
        sample(source, "validation")
    with pytest.raises(DataError, match="1x2x3"):
        source.check()


def test_what_is_no_data_set_is_refused_when_given_or_made():
    with pytest.raises(DataError, match="test: got a list, expected a MetaDataset, with seed and sample_task"):
        MetaDatasetTasks(train=Drawn(0, SPEC), validation=Drawn(0, SPEC), test=[1, 2])  # type: ignore[arg-type]
    source = MetaDatasetTasks(train=lambda spec: None, validation=Drawn(0, SPEC), test=Drawn(0, SPEC))  # type: ignore[arg-type, return-value]
    with pytest.raises(DataError, match="train: got a NoneType"):
        sample(source)


def test_too_few_classes_or_images_are_told_in_the_data_sets_own_words():
    with pytest.raises(DataError, match=r"my, train split of 11 classes of 1\+1 images: cannot draw a task: .*larger"):
        sample(made(), spec=EpisodeSpec(n_way=11, k_shot=1, n_query=1))


# ---------------------------------------------------------------- importing


def test_neither_the_plugin_nor_its_source_imports_torchmeta_or_torchvision():
    code = """
        import sys
        from hnas_plugins.tasks.torchmeta import adapter as a
        assert "torch" not in sys.modules
        source = a.open_torchmeta(a.TorchmetaOptions(root="nowhere"))
        print(sorted({"torchmeta", "torchvision", "torch", "h5py"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(importlib.util.find_spec("torchmeta") is not None, reason="torchmeta is installed here")
def test_without_torchmeta_every_use_says_how_to_install_it():
    source = open_torchmeta(TorchmetaOptions())
    for use in (import_torchmeta, source.check, lambda: source.n_classes("test"), lambda: sample(source)):
        with pytest.raises(PluginError, match="cannot import torchmeta: ModuleNotFoundError: No module") as caught:
            use()
        assert all(command in (caught.value.hint or "") for command in INSTALL)


TORCHVISION = """
    def _registered(name):
        raise RuntimeError(f"operator torchvision::{name} does not exist")

    _registered("nms")
"""


def test_a_torchvision_of_another_torch_is_told_the_same_way(tmp_path: Path):
    """It raises RuntimeError, no ImportError. The real one is tried in `in_torchmeta_venv`."""
    (tmp_path / "torchvision.py").write_text(textwrap.dedent(TORCHVISION))
    code = "from hnas_plugins.tasks.torchmeta.importing import import_torchmeta; import_torchmeta()"
    told = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True)
    assert "PluginError: cannot import torchmeta: RuntimeError: operator torchvision::nms does not" in done.stderr


def test_options_name_the_data_sets_that_there_are():
    with pytest.raises(ValueError, match="mnist"):
        TorchmetaOptions(dataset="mnist")


def test_it_is_registered():
    registry = Registry()
    assert isinstance(registry.create("tasks", "torchmeta"), MetaDatasetTasks)
    assert registry.options_class("tasks", "torchmeta") is TorchmetaOptions


class TestConforms(TasksConformance):
    options = TorchmetaOptions
    spec = SPEC

    def make(self) -> MetaDatasetTasks:
        return made()
