"""Omniglot: from a set in the official layout that the tests draw themselves, and from the real one."""

from __future__ import annotations

import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hnas import DataError, EpisodeSpec
from hnas.task_source import SPLITS, Split
from hnas.testing import TasksConformance
from hnas.toolkit.remote_file import RemoteFile
from hnas_app.training.evaluate import nearest_class_mean
from hnas_plugins.tasks.images.content import content_digest
from hnas_plugins.tasks.omniglot import inventory
from hnas_plugins.tasks.omniglot.inventory import FolderPart, ZipPart, take_inventory
from hnas_plugins.tasks.omniglot.source import Omniglot, OmniglotOptions
from hnas_plugins.tasks.omniglot.splits import FOLDERS, RANDOM_SHARES, characters, vinyals_split
from hnas_plugins.tasks.sampling import random_split

ANGELIC = "images_evaluation/Angelic"
SPLIT_SIZES = {"train": 1028, "validation": 172, "test": 423}
CORNERS = (0, 4, 20, 24)
BLOCKS = [i for i in range(25) if i not in CORNERS]


def drawing(number: int) -> bytes:
    """Draw 5×5 blocks that spell ``number`` in bits; the top left corner alone is inked, so a turn can be seen."""
    blocks = np.zeros(25, bool)
    blocks[0] = True
    blocks[BLOCKS] = [number >> bit & 1 for bit in range(len(BLOCKS))]
    paper = ~blocks.reshape(5, 5).repeat(21, axis=0).repeat(21, axis=1)
    file = io.BytesIO()
    Image.fromarray(paper).save(file, "png", compress_level=1)
    return file.getvalue()


def spelled(images: torch.Tensor) -> tuple[list[int], list[int]]:
    """Return the number that each image (N, 1, 28, 28) spells, and by how many quarters it is turned."""
    centres = [3, 8, 14, 19, 25]
    blocks = images[:, 0][:, centres][:, :, centres].numpy() > 0.5
    numbers, turns = [], []
    for image in blocks:
        turn = next(k for k in range(4) if np.rot90(image, -k)[0, 0])
        flat = np.rot90(image, -turn).ravel()
        assert not flat[[4, 20, 24]].any()
        numbers.append(sum(int(flat[block]) << bit for bit, block in enumerate(BLOCKS)))
        turns.append(turn)
    return numbers, turns


def file_names() -> dict[str, int]:
    """Return the name of every drawing in the official layout, with its number in order."""
    return {f"{c.path}/{i + 1:04d}_{d + 1:02d}.png": i * 20 + d for i, c in enumerate(characters()) for d in range(20)}


def write_zips(root: Path, content: Callable[[str, int], bytes | None], folders: Sequence[str] = FOLDERS) -> Path:
    """Write both zips, or some; ``content`` gives each file's bytes, or ``None`` to leave it out."""
    root.mkdir(exist_ok=True)
    for folder in folders:
        with zipfile.ZipFile(root / f"{folder}.zip", "w") as target:
            for name, number in file_names().items():
                data = content(name, number) if name.startswith(folder) else None
                if data is not None:
                    target.writestr(name, data)
    return root


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole set in two zips, each drawing different."""
    return write_zips(tmp_path_factory.mktemp("drawn"), lambda _, number: drawing(number))


@pytest.fixture(scope="module")
def omniglot(drawn: Path, hnas_home: Path) -> Omniglot:
    return Omniglot(OmniglotOptions(root=str(drawn)))


@pytest.fixture(scope="module")
def fault(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Callable[[Mapping[str, bytes | None]], Path]:
    """Write zips with other content (or none) for all names that begin with a key; a zip without any is `drawn`'s."""
    plain = drawing(0)

    def write(changes: Mapping[str, bytes | None]) -> Path:
        def content(name: str, _: int) -> bytes | None:
            return next((data for start, data in changes.items() if name.startswith(start)), plain)

        root = tmp_path_factory.mktemp("fault")
        wrong = [folder for folder in FOLDERS if any(start.startswith(folder) for start in changes)]
        for folder in set(FOLDERS) - set(wrong):
            os.link(drawn / f"{folder}.zip", root / f"{folder}.zip")
        return write_zips(root, content, wrong)

    return write


def sample(source: Omniglot, split: Split = "train", seed: int = 0, n_tasks: int = 20, **size: int):
    generators = [np.random.default_rng((seed, i)) for i in range(n_tasks)]
    return source.sample(split, EpisodeSpec(**size), generators)


def test_drawings_that_are_too_large_together_are_refused(drawn: Path, monkeypatch: pytest.MonkeyPatch):
    """Each of 32,460 files may be small, and unpack to much more than the zip has."""
    monkeypatch.setattr(inventory, "_MAX_UNPACKED", 1 << 20)
    with pytest.raises(DataError, match=r"its drawings have \d+ bytes, expected at most 1048576"):
        take_inventory(drawn)


# ---------------------------------------------------------------- splits


def test_the_vinyals_split_has_1028_172_and_423_characters():
    splits = {split: vinyals_split(split) for split in SPLITS}
    assert {split: len(members) for split, members in splits.items()} == SPLIT_SIZES
    assert sorted(i for members in splits.values() for i in members) == list(range(1623))
    assert [sum(c.folder == f for c in characters()) for f in FOLDERS] == [964, 659]


def test_the_random_split_has_1200_to_learn_from_and_depends_on_its_seed():
    splits = {split: random_split(RANDOM_SHARES, split, 0) for split in SPLITS}
    assert {split: len(members) for split, members in splits.items()} == {"train": 1150, "validation": 50, "test": 423}
    assert sorted(i for members in splits.values() for i in members) == list(range(1623))
    assert random_split(RANDOM_SHARES, "test", 0) != random_split(RANDOM_SHARES, "test", 1)


def test_class_counts_need_no_data_and_rotations_multiply_training_classes():
    def counts(**options: object) -> list[int]:
        source = Omniglot(OmniglotOptions(root="/nowhere", **options))  # type: ignore[arg-type]
        return [source.n_classes(split) for split in SPLITS]

    assert counts() == [4112, 172, 423]
    assert counts(rotations=False) == [1028, 172, 423]
    assert counts(split="random") == [4600, 50, 423]


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize("split", SPLITS)
def test_a_task_has_distinct_classes_of_its_split_and_no_drawing_twice(omniglot: Omniglot, split: Split):
    episodes = sample(omniglot, split, n_tasks=40, n_way=5, k_shot=3, n_query=15)
    assert episodes.support_x.shape == (40, 15, *omniglot.image_shape)
    assert episodes.query_x.shape == (40, 75, 1, 28, 28)
    all_turns = set()
    for task in range(40):
        support, support_turns = spelled(episodes.support_x[task])
        query, query_turns = spelled(episodes.query_x[task])
        classes = [(n // 20, t) for n, t in zip(support, support_turns, strict=True)]
        assert classes == [classes[i // 3 * 3] for i in range(15)]  # 0,0,0,1,1,1,… as the labels say
        assert [(n // 20, t) for n, t in zip(query, query_turns, strict=True)] == [
            classes[i // 15 * 3] for i in range(75)
        ]
        assert len(set(classes)) == 5
        assert len({*zip(support, support_turns, strict=True), *zip(query, query_turns, strict=True)}) == 90
        assert {number for number, _ in classes} <= set(vinyals_split(split))
        all_turns |= set(support_turns)
    assert all_turns == ({0, 1, 2, 3} if split == "train" else {0})


def test_ink_is_1_and_paper_0(omniglot: Omniglot):
    episodes = sample(omniglot, n_way=5, k_shot=1, n_query=1)
    assert episodes.support_x.dtype == torch.float32
    assert episodes.support_x.min() == 0
    assert episodes.support_x.max() == 1


def test_one_seed_is_one_batch(omniglot: Omniglot):
    a, b, other = (sample(omniglot, seed=s, n_way=5, k_shot=1, n_query=5) for s in (1, 1, 2))
    assert torch.equal(a.support_x, b.support_x)
    assert torch.equal(a.query_x, b.query_x)
    assert not torch.equal(a.query_x, other.query_x)


def test_too_many_images_or_classes_are_refused_with_the_numbers(omniglot: Omniglot):
    with pytest.raises(DataError, match="train split has 20 images a class; 5 support and 16 query images need 21"):
        sample(omniglot, n_way=5, k_shot=5, n_query=16)
    with pytest.raises(DataError, match="validation split has 172 classes, a 173-way task needs 173"):
        sample(omniglot, "validation", n_way=173, k_shot=1, n_query=1)


# ---------------------------------------------------------------- reading


def test_a_second_start_decodes_nothing(omniglot: Omniglot, drawn: Path, hnas_home: Path):
    sample(omniglot)
    before = {p: p.stat().st_mtime_ns for p in (hnas_home / "omniglot").iterdir()}
    start = time.process_time()
    again = Omniglot(OmniglotOptions(root=str(drawn)))
    sample(again, n_tasks=1)
    assert time.process_time() - start < 1.5  # seconds; 0.4 alone, and decoding takes at least 4
    assert {p: p.stat().st_mtime_ns for p in (hnas_home / "omniglot").iterdir()} == before


def test_other_drawings_are_told_from_the_official_ones(omniglot: Omniglot):
    assert "NOT the official drawings" in omniglot.check()


def test_characters_are_named_with_the_content_of_their_drawings(drawn: Path, omniglot: Omniglot):
    """Of the ink before it is scaled, which no version of Pillow changes; rotations are no other classes."""
    known = {split: omniglot.class_digests(split) for split in SPLITS}
    assert [len(members) for members in known.values()] == [1028, 172, 423]
    inventory = take_inventory(drawn)
    for character in characters()[::400]:
        read = inventory.parts[character.folder].read
        inks = [
            np.asarray(Image.open(io.BytesIO(read(name))).convert("L")) < 128 for name in inventory.drawings[character]
        ]
        (digest,) = [members[character.path] for members in known.values() if character.path in members]
        assert digest == content_digest(np.packbits(ink).tobytes() for ink in inks)
        assert digest != content_digest(np.packbits(ink).tobytes() for ink in inks[::-1])


def test_an_unpacked_half_is_read_like_its_zip(drawn: Path, tmp_path: Path):
    shutil.copy(drawn / "images_background.zip", tmp_path)
    with zipfile.ZipFile(drawn / "images_evaluation.zip") as source:
        source.extractall(tmp_path)
    (tmp_path / "images_evaluation" / "Angelic" / ".DS_Store").touch()
    inventory, zipped = take_inventory(tmp_path), take_inventory(drawn)
    assert isinstance(inventory.parts["images_evaluation"], FolderPart)
    assert isinstance(zipped.parts["images_evaluation"], ZipPart)
    for character in characters()[::100]:
        for name, same in zip(inventory.drawings[character], zipped.drawings[character], strict=True):
            content = inventory.parts[character.folder].read(name)
            assert content == zipped.parts[character.folder].read(same)
    shutil.rmtree(tmp_path / "images_evaluation" / "Angelic" / "character03")
    os.remove(next((tmp_path / "images_evaluation" / "Tengwar" / "character25").glob("*_07.png")))
    with pytest.raises(DataError, match="has 657 of 659 characters") as caught:
        take_inventory(tmp_path)
    assert "Missing: Angelic character 03; Tengwar/character25 drawing 07" in str(caught.value)


def test_a_missing_root_or_half_is_told_with_how_to_get_it(drawn: Path, tmp_path: Path):
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError, match=str(root)) as caught:
            sample(Omniglot(OmniglotOptions(root=str(root))))
        assert "hnas data fetch omniglot" in (caught.value.hint or "")
        assert caught.value.exit_code == 3
    shutil.copy(drawn / "images_background.zip", tmp_path)
    with pytest.raises(DataError, match=r"neither images_evaluation/ nor images_evaluation.zip; it holds images_back"):
        take_inventory(tmp_path)


def test_a_zip_that_was_cut_short_is_refused(drawn: Path, tmp_path: Path):
    shutil.copy(drawn / "images_background.zip", tmp_path)
    whole = (drawn / "images_evaluation.zip").read_bytes()
    (tmp_path / "images_evaluation.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"images_evaluation.zip \(\d+ bytes\) is damaged: File is not a zip file"):
        take_inventory(tmp_path)


def test_what_is_missing_from_a_zip_is_named(fault: Callable[[Mapping[str, bytes | None]], Path]):
    root = fault(
        {"images_background/Greek/": None, f"{ANGELIC}/character02/": None, f"{ANGELIC}/character05/0969": None}
    )
    with pytest.raises(DataError) as caught:
        take_inventory(root)
    text = str(caught.value)
    assert "images_background.zip has 940 of 964 characters with 20 drawings each" in text
    assert "images_evaluation.zip has 657 of 659" in text
    assert "all of Greek (24 characters)" in text
    assert "Angelic character 02, 05" in text


def test_a_drawing_of_absurd_size_is_not_even_read(fault: Callable[[Mapping[str, bytes | None]], Path]):
    root = fault({f"{ANGELIC}/character01/0965_01": b"\0" * 100_000})
    with pytest.raises(DataError, match=r"0965_01\.png has 100000 bytes"):
        take_inventory(root)


def test_damaged_drawings_are_counted_and_named(fault: Callable[[Mapping[str, bytes | None]], Path]):
    small = io.BytesIO()
    Image.new("1", (28, 28)).save(small, "png")
    root = fault(
        {
            f"{ANGELIC}/character01/0965_02": b"no image",
            f"{ANGELIC}/character01/0965_03": drawing(1)[:60],
            f"{ANGELIC}/character01/0965_04": small.getvalue(),
        }
    )
    path = root / "images_evaluation.zip"
    content = bytearray(path.read_bytes())
    at = content.index(b"0965_05.png") + 20  # in the stored content, behind the local header's name
    content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        Omniglot(OmniglotOptions(root=str(root))).check()
    text = str(caught.value)
    assert "4 of 32460 drawings are damaged" in text
    assert "0965_02.png (cannot identify image file" in text
    assert "0965_04.png (28x28 pixels, expected 105x105)" in text
    assert "0965_05.png (Bad CRC-32" in text


# ---------------------------------------------------------------- where it lies


def test_the_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HNAS_DATA", raising=False)
    assert Omniglot().root == tmp_path / "home" / "data" / "omniglot"
    monkeypatch.setenv("HNAS_DATA", str(tmp_path / "sets"))
    assert Omniglot().root == tmp_path / "sets" / "omniglot"
    assert [f.path.parent for f in Omniglot().remote_files()] == [tmp_path / "sets" / "omniglot"] * 2


def test_what_fetch_downloads_is_what_the_reader_looks_for():
    files: list[RemoteFile] = list(Omniglot(OmniglotOptions(root="/set")).remote_files())
    assert [f.path for f in files] == [Path("/set") / f"{folder}.zip" for folder in FOLDERS]
    assert all(f.url.startswith("https://") and f.md5 for f in files)


# ---------------------------------------------------------------- the real one


@pytest.fixture(scope="module")
def real(real_data: Callable[[str], Path], hnas_home: Path) -> Omniglot:
    return Omniglot(OmniglotOptions(root=str(real_data("omniglot"))))


def test_the_real_set_is_recognised_by_content(real: Omniglot):
    assert real.check() == "1623 characters x 20 drawings, the official drawings"


def test_real_images_equal_an_independent_decoding(real: Omniglot):
    """`omniglot.npz` was decoded by other code; its class order is the same."""
    reference = real.root / "omniglot.npz"
    if not reference.is_file():
        pytest.skip(f"{reference} is not there to compare with")
    with np.load(reference, allow_pickle=False) as stored:
        assert (real._images.reshape(-1, 28, 28) == stored["images"]).all()
        assert stored["class_names"].tolist() == [c.path.partition("/")[2] for c in characters()]


@pytest.mark.parametrize(("k_shot", "low", "high"), [(1, 0.36, 0.48), (5, 0.63, 0.75)])
def test_real_tasks_are_as_hard_as_known(real: Omniglot, k_shot: int, low: float, high: float):
    accuracy = nearest_class_mean(sample(real, "test", n_tasks=300, n_way=5, k_shot=k_shot, n_query=15)).mean()
    assert low < accuracy < high  # 0.42 and 0.69 on upright test characters


class TestConforms(TasksConformance):
    options = OmniglotOptions
    images_per_class = 20

    @pytest.fixture(autouse=True)
    def _given(self, drawn: Path) -> None:
        self.root = drawn

    def make(self) -> Omniglot:
        return Omniglot(OmniglotOptions(root=str(self.root)))
