"""Tests that need torchmeta. `test_torchmeta_package` runs them in an environment that has it."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hnas import DataError, Episodes, EpisodeSpec
from hnas.task_source import SPLITS, Split, TaskSource
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.training.evaluate import nearest_class_mean
from hnas_plugins.tasks.omniglot.inventory import take_inventory
from hnas_plugins.tasks.omniglot.splits import characters, vinyals_split
from hnas_plugins.tasks.torchmeta.adapter import MetaDatasetTasks, TorchmetaOptions, open_torchmeta
from hnas_plugins.tasks.torchmeta.importing import import_torchmeta

ROOT = Path(__file__).resolve().parents[4]
SPEC = EpisodeSpec(n_way=5, k_shot=2, n_query=10)
META_SPLITS = ("train", "val", "test")
CLASSES, DRAWINGS = 20, 20  # of each split
TINY = {
    "space.base_width": 4,
    "task.n_way": 2,
    "strategy.population": 8,
    "strategy.iterations": 2,
    "learner.inner_steps": 1,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "search.tasks": 2,
    "search.pool": 10,
    "search.final_tasks": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 2,
    "retrain.tasks": 2,
    "evaluate.tasks": 4,
}


def write_omniglot(root: Path, members: dict[str, list[tuple[list[str], NDArray[np.uint8]]]]) -> Path:
    """Write ``omniglot/`` as torchmeta's download does, of (folder, alphabet, character) and drawings of each split."""
    (root / "omniglot").mkdir(parents=True)
    with h5py.File(root / "omniglot" / "data.hdf5", "w") as file:
        for meta_split, classes in members.items():
            for name, drawings in classes:
                file.create_dataset("/".join(name), data=drawings)
            labels = root / "omniglot" / f"vinyals_{meta_split}_labels.json"
            labels.write_text(json.dumps([name for name, _ in classes]))
    return root


def drawing(number: int, i: int) -> NDArray[np.uint8]:
    """Draw class ``number`` as the grey of the paper, ``i`` as the grey of the middle; a white corner shows a turn."""
    image = np.full((105, 105), 4 * number, np.uint8)
    image[35:70, 35:70] = 10 * i
    image[:20, :20] = 255
    return image


def read(images: torch.Tensor) -> list[tuple[int, int, int]]:
    """Return class, turn and drawing of each image, (N, 1, 28, 28)."""
    grey = (images[:, 0] * 255).round().int()
    corners = grey[:, [2, 25, 25, 2], [2, 2, 25, 25]]  # where the top left one goes by quarters, anticlockwise
    turns = corners.argmax(1)
    assert (corners.max(1).values == 255).all()
    return list(zip((grey[:, 2, 14] // 4).tolist(), turns.tolist(), (grey[:, 14, 14] // 10).tolist(), strict=True))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 60 classes that the tests can read back; class ``c`` belongs to split ``c // 20``."""
    members = {
        meta_split: [
            (
                ["images_background", "Drawn", f"character{c:02d}"],
                np.stack([drawing(c, i) for i in range(DRAWINGS)]),
            )
            for c in range(n * CLASSES, (n + 1) * CLASSES)
        ]
        for n, meta_split in enumerate(META_SPLITS)
    }
    return write_omniglot(tmp_path_factory.mktemp("drawn"), members)


@pytest.fixture(scope="session")
def real(real_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real drawings of every eighth character, as torchmeta's download would convert them."""
    inventory = take_inventory(real_data("omniglot"))

    def drawings(i: int) -> Iterator[NDArray[np.uint8]]:
        character = characters()[i]
        for name in inventory.drawings[character]:
            with Image.open(BytesIO(inventory.parts[character.folder].read(name))) as image:
                yield np.asarray(ImageOps.invert(image.convert("L")))

    members = {
        meta_split: [(characters()[i].path.split("/"), np.stack(list(drawings(i)))) for i in vinyals_split(split)[::8]]
        for split, meta_split in zip(SPLITS, META_SPLITS, strict=True)
    }
    return write_omniglot(tmp_path_factory.mktemp("real"), members)


@pytest.fixture
def source(drawn: Path) -> MetaDatasetTasks:
    return open_torchmeta(TorchmetaOptions(root=str(drawn)))


def wrapped(root: Path, keys: tuple[str, str] = ("support", "query"), splitter: bool = True) -> MetaDatasetTasks:
    """Wrap three of torchmeta's data sets that a user made, without rotated classes."""
    torchmeta = import_torchmeta()
    from torchvision.transforms import Compose, Resize, ToTensor

    def dataset(meta_split: str) -> Any:
        made = torchmeta.datasets.Omniglot(
            str(root),
            num_classes_per_task=SPEC.n_way,
            meta_split=meta_split,
            transform=Compose([Resize(28), ToTensor()]),
            target_transform=torchmeta.transforms.Categorical(SPEC.n_way),
        )
        counts = {f"num_{keys[0]}_per_class": SPEC.k_shot, f"num_{keys[1]}_per_class": SPEC.n_query}
        return torchmeta.transforms.ClassSplitter(made, shuffle=True, **counts) if splitter else made

    return MetaDatasetTasks(train=dataset("train"), validation=dataset("val"), test=dataset("test"))


def sample(
    source: TaskSource, split: Split = "train", spec: EpisodeSpec = SPEC, seed: int = 0, n: int = 10
) -> Episodes:
    return source.sample(split, spec, [np.random.default_rng((seed, i)) for i in range(n)])


def images(source: TaskSource) -> list[bytes]:
    """Return some tasks of every split, comparable between processes."""
    return [
        x.numpy().tobytes() for split in SPLITS for e in [sample(source, split, n=3)] for x in (e.support_x, e.query_x)
    ]


# ---------------------------------------------------------------- importing


def test_torchvision_is_left_as_it_was():
    code = """
from torchvision.datasets import utils
before = set(vars(utils))
from hnas_plugins.tasks.torchmeta.importing import import_torchmeta
assert import_torchmeta().datasets.utils._get_confirm_token
print(sorted(before ^ set(vars(utils))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_says_nothing_and_happens_at_first_use_only(drawn: Path):
    code = f"""
import sys
from hnas_app.executors.local_processes import LocalProcesses
from hnas.task_source import SPLITS
from hnas_plugins.tasks.torchmeta.adapter import TorchmetaOptions, open_torchmeta
source = open_torchmeta(TorchmetaOptions(root={str(drawn)!r}))
assert not {{"torchmeta", "torchvision", "h5py"}} & set(sys.modules)
print([source.n_classes(split) for split in SPLITS])
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[80, 80, 80]"  # the helper turns the classes of all splits
    assert "Failed to load image Python extension" not in done.stderr


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize("split", SPLITS)
def test_a_task_has_distinct_classes_of_its_split_and_no_drawing_twice(source: MetaDatasetTasks, split: Split):
    episodes = sample(source, split, n=20)
    assert episodes.support_x.shape == (20, 10, 1, 28, 28)
    assert episodes.query_x.shape == (20, 50, 1, 28, 28)
    assert episodes.support_x.dtype == torch.float32
    assert episodes.support_y.tolist() == [np.repeat(range(5), 2).tolist()] * 20
    turns = set()
    for task in range(20):
        support, query = read(episodes.support_x[task]), read(episodes.query_x[task])
        classes = [image[:2] for image in support[::2]]
        assert [image[:2] for image in support] == [classes[i // 2] for i in range(10)]
        assert [image[:2] for image in query] == [classes[i // 10] for i in range(50)]
        assert len(set(classes)) == 5
        assert {c // CLASSES for c, _ in classes} == {SPLITS.index(split)}
        assert len({*support, *query}) == 60
        turns |= {turn for _, turn in classes}
    assert turns == {0, 1, 2, 3}


def test_one_seed_is_one_stream(source: MetaDatasetTasks, drawn: Path):
    again = open_torchmeta(TorchmetaOptions(root=str(drawn)))
    torch.rand(3)
    assert images(source) == images(again) == images(source)
    assert not torch.equal(sample(source, seed=1).query_x, sample(source, seed=2).query_x)


def test_an_episode_is_the_one_that_torchmeta_draws_from_the_same_seed(source: MetaDatasetTasks, drawn: Path):
    helpers = import_torchmeta().datasets.helpers
    dataset = helpers.omniglot(str(drawn), shots=2, ways=5, test_shots=10, meta_split="test")
    seed = int(np.random.default_rng(7).integers(1 << 32))
    dataset.seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task = dataset.sample_task()
        drawn_there = sorted(((y, read(x[None])[0]) for x, y in task["test"]), key=lambda item: item[0])
    (here,) = sample(source, "test", seed=7, n=1).query_x
    assert list(zip(np.repeat(range(5), 10).tolist(), read(here), strict=True)) == drawn_there


def test_the_global_generators_are_left_as_they_were(source: MetaDatasetTasks):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    sample(source)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def _images(values: Mapping[str, TaskSource], _: object) -> list[bytes]:
    return images(values["source"])


@pytest.mark.parametrize("kind", ["of a helper", "wrapped"])
def test_a_source_that_was_read_draws_the_same_in_a_worker_process(kind: str, drawn: Path):
    """The worker has to import torchmeta before it can make its objects, and to open the file itself."""
    source = wrapped(drawn) if kind == "wrapped" else open_torchmeta(TorchmetaOptions(root=str(drawn)))
    here = images(source)
    with LocalProcesses(1) as worker:
        worker.put(source=source)
        assert worker.map(_images, [None]) == [here]
    assert images(source) == here


def test_sizes_may_change_between_calls(source: MetaDatasetTasks):
    for n_way, k_shot, n_query in ((5, 1, 15), (2, 5, 15), (5, 1, 15), (20, 1, 1)):
        episodes = sample(source, spec=EpisodeSpec(n_way=n_way, k_shot=k_shot, n_query=n_query), n=2)
        assert episodes.support_x.shape[1] == n_way * k_shot
        assert episodes.query_x.shape[1] == n_way * n_query
        assert len({image[:2] for image in read(episodes.query_x[0])}) == n_way


@pytest.mark.parametrize("keys", [("train", "test"), ("support", "query")])
def test_data_sets_of_a_users_own_are_wrapped(drawn: Path, keys: tuple[str, str]):
    source = wrapped(drawn, keys)
    assert [source.n_classes(split) for split in SPLITS] == [CLASSES] * 3
    assert source.image_shape == (1, 28, 28)
    for split in SPLITS:
        seen = read(sample(source, split).query_x.flatten(0, 1))
        assert {c // CLASSES for c, _, _ in seen} == {SPLITS.index(split)}
        assert {turn for _, turn, _ in seen} == {0}


# ---------------------------------------------------------------- what is refused


def test_a_data_set_without_a_splitter_is_refused_by_name(drawn: Path):
    with pytest.raises(DataError, match="Omniglot, train split: a task is a ConcatTask, not split into support"):
        sample(wrapped(drawn, splitter=False))


def test_images_of_no_tensors_and_labels_of_no_numbers_are_refused_with_the_transform_that_helps(drawn: Path):
    torchmeta = import_torchmeta()
    categorical = torchmeta.transforms.Categorical(5)
    for target_transform, said, helps in ((categorical, "an image is a Image", "ToTensor"), (None, "a label", "Categ")):
        dataset = torchmeta.datasets.Omniglot(str(drawn), 5, meta_split="train", target_transform=target_transform)
        dataset = torchmeta.transforms.ClassSplitter(dataset, num_train_per_class=1, num_test_per_class=1)
        with pytest.raises(DataError, match=said) as caught:
            sample(MetaDatasetTasks(train=dataset, validation=dataset, test=dataset))
        assert helps in (caught.value.hint or "")


def test_missing_data_are_told_with_the_layout(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"torchmeta's omniglot cannot be opened in .*: Omniglot integrity check"
    ) as caught:
        open_torchmeta(TorchmetaOptions(root=str(tmp_path))).check()
    assert "omniglot/ with data.hdf5" in (caught.value.hint or "")


def test_too_many_classes_or_images_are_told_in_torchmetas_words(source: MetaDatasetTasks):
    with pytest.raises(DataError, match=r"of 5 classes of 6\+15 images: cannot draw a task: .*\(20\) is smaller"):
        sample(source, spec=EpisodeSpec(n_way=5, k_shot=6, n_query=15))
    with pytest.raises(DataError, match=r"81 classes .* cannot draw a task: Cannot take a larger sample"):
        sample(source, spec=EpisodeSpec(n_way=81, k_shot=1, n_query=1))


def test_a_download_from_google_drive_is_refused_with_what_to_do():
    with pytest.raises(DataError, match="Google Drive date from 2021"):
        import_torchmeta().datasets.utils._get_confirm_token(None)


# ---------------------------------------------------------------- whole runs


def hnas(*words: str | Path, folder: Path | None = None) -> str:
    command = [sys.executable, "-c", "from hnas_app.cli import main; main()", *map(str, words)]
    plain = {**os.environ, "HNAS_ENGINE": "plain"}  # kernels that would take longer to compile than they save
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=plain)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_whole_run_is_fed_by_it(real: Path, tmp_path: Path):
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    tasks = ("--tasks", "torchmeta", "--data-root", real, "--set", "tasks.dataset=omniglot")
    chosen = ("--preset", "quick", "--backend", "eyeriss", "--workers", "2", "--run-dir", tmp_path / "run")
    hnas("run", *chosen, *tasks, *settings)
    result = json.loads((tmp_path / "run" / "evaluate.json").read_text())
    assert result["protocol"].startswith("torchmeta, 2-way 1-shot, 4 test tasks with 15 query images")


def test_the_source_that_the_documents_show_works(drawn: Path, tmp_path: Path):
    """The page's Python block is `upright.py`, and its data lie in ``data``."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "torchmeta.md").read_text(), re.M | re.S)
    (tmp_path / "upright.py").write_text(block)
    (tmp_path / "data").symlink_to(drawn)
    told = json.loads(hnas("data", "check", "./upright.py:Upright", "--json", folder=tmp_path))
    assert told["classes"] == dict.fromkeys(SPLITS, CLASSES)
    assert told["image_shape"] == [1, 28, 28]


def test_real_tasks_are_as_hard_as_known(real: Path):
    source = open_torchmeta(TorchmetaOptions(root=str(real)))
    accuracy = nearest_class_mean(sample(source, "test", EpisodeSpec(n_way=5, k_shot=1, n_query=15), n=100)).mean()
    assert 0.36 < accuracy < 0.55  # the native source has 0.42 on all upright test characters, by the same measure
