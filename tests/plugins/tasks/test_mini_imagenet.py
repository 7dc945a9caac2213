"""Mini-ImageNet: from a small set that the tests write in every layout, and from the real one."""

from __future__ import annotations

import io
import json
import lzma
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from hnas import DataError, EpisodeSpec
from hnas.episode import Episodes
from hnas.task_source import SPLITS, Split
from hnas.testing import TasksConformance
from hnas_app.training.evaluate import nearest_class_mean
from hnas_plugins.tasks.mini_imagenet import pictures
from hnas_plugins.tasks.mini_imagenet.source import MiniImageNet, MiniImageNetOptions
from hnas_plugins.tasks.mini_imagenet.splits import classes

FILES: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
SIZES = {"train": 64, "validation": 16, "test": 20}
EACH = 3
FIRST = classes("validation")[0]
LAYOUTS = ("folders", "tar", "pickle", "hdf5", "listed")
Pictures = dict[str, dict[str, bytes]]
"""Class and file name to the file's content."""


def jpeg(split: Split, i: int, j: int, size: tuple[int, int] = (84, 84)) -> bytes:
    """Draw a picture in a colour of its own."""
    image = Image.new("RGB", size, (3 * i, 60 * j, 80 * SPLITS.index(split)))
    file = io.BytesIO()
    image.save(file, "jpeg", quality=95)
    return file.getvalue()


def draw(split: Split) -> Pictures:
    return {
        wnid: {f"{wnid}{j:08d}.jpg": jpeg(split, i, j) for j in range(EACH)} for i, wnid in enumerate(classes(split))
    }


@pytest.fixture(scope="module")
def drawn() -> dict[Split, Pictures]:
    return {split: draw(split) for split in SPLITS}


def write_folders(root: Path, split: Split, pictures: Pictures) -> None:
    for wnid, files in pictures.items():
        folder = root / FILES[split] / wnid
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


def write_tar(root: Path, split: Split, pictures: Pictures) -> Path:
    path = root / f"mini-imagenet-{FILES[split]}.tar.xz"
    with tarfile.open(path, "w:xz", preset=0) as archive:
        for wnid in reversed(pictures):  # the order in an archive is nobody's promise
            for name, content in reversed(pictures[wnid].items()):
                member = tarfile.TarInfo(f"{FILES[split]}/{wnid}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def decoded(pictures: Pictures) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(c))) for files in pictures.values() for c in files.values()])


def members(pictures: Pictures) -> dict[str, list[int]]:
    return {wnid: [EACH * i + j for j in range(EACH)] for i, wnid in enumerate(pictures)}


def write_pickle(root: Path, split: Split, pictures: Pictures) -> Path:
    path = root / f"mini-imagenet-cache-{FILES[split]}.pkl"
    order = list(range(len(pictures) * EACH))[::-1]  # images may stand in any order
    where = {wnid: [order.index(i) for i in indices] for wnid, indices in members(pictures).items()}
    path.write_bytes(pickle.dumps({"image_data": decoded(pictures)[order], "class_dict": where}))
    return path


def write_hdf5(root: Path, split: Split, pictures: Pictures) -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path = root / f"{FILES[split]}_data.hdf5"
    root.mkdir(exist_ok=True)
    images = decoded(pictures)
    with h5py.File(path, "w") as file:
        group = file.create_group("datasets")
        for wnid, indices in members(pictures).items():
            group.create_dataset(wnid, data=images[indices])
    (root / f"{FILES[split]}_labels.json").write_text(json.dumps(sorted(pictures)))
    return path


def write_listed(root: Path, split: Split, pictures: Pictures) -> None:
    (root / "images").mkdir(parents=True, exist_ok=True)
    lines = ["filename,label"]
    for wnid, files in pictures.items():
        for name, content in files.items():
            (root / "images" / name).write_bytes(content)
            lines.append(f"{name},{wnid}")
    (root / f"{FILES[split]}.csv").write_text("\n".join(lines) + "\n")


def write_unsplit(root: Path, _: Split, pictures: Pictures) -> None:
    for wnid, files in pictures.items():
        (root / wnid).mkdir(parents=True)
        for name, content in files.items():
            (root / wnid / name).write_bytes(content)


WRITERS: dict[str, Callable[[Path, Split, Pictures], Any]] = {
    "folders": write_folders,
    "tar": write_tar,
    "pickle": write_pickle,
    "hdf5": write_hdf5,
    "listed": write_listed,
    "unsplit": write_unsplit,
    "unsplit in images": lambda root, split, pictures: write_unsplit(root / "images", split, pictures),
}


def source(root: Path, **options: Any) -> MiniImageNet:
    return MiniImageNet(MiniImageNetOptions(root=str(root), **options))


def sample(source: MiniImageNet, split: Split = "train", seed: int = 0, n_tasks: int = 20, **size: int) -> Episodes:
    spec = EpisodeSpec(**{"n_way": 5, "k_shot": 1, "n_query": 2, **size})
    return source.sample(split, spec, [np.random.default_rng((seed, i)) for i in range(n_tasks)])


@pytest.fixture(scope="module")
def folders(drawn: dict[Split, Pictures], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    for split in SPLITS:
        write_folders(root, split, drawn[split])
    return root


# ---------------------------------------------------------------- the split


def test_shape_and_class_counts_need_no_data():
    nowhere = source(Path("/nowhere"))
    assert {split: nowhere.n_classes(split) for split in SPLITS} == SIZES
    assert nowhere.image_shape == (3, 84, 84)
    assert len({wnid for split in SPLITS for wnid in classes(split)}) == 100


def test_the_split_is_that_of_ravi_and_larochelle(real_data: Callable[[str], Path]):
    for split in SPLITS:
        lines = (real_data("mini-imagenet") / f"{FILES[split]}.csv").read_text().splitlines()[1:]
        assert sorted({line.partition(",")[2] for line in lines}) == list(classes(split))


def faulty(root: Path, drawn: dict[Split, Pictures], layout: str, change: Callable[[Pictures], None]) -> str:
    pictures = {wnid: dict(files) for wnid, files in drawn["validation"].items()}
    change(pictures)
    WRITERS[layout](root, "validation", pictures)
    with pytest.raises(DataError) as caught:
        sample(source(root), "validation")
    assert str(root) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_that_are_amiss_are_named(layout: str, drawn: dict[Split, Pictures], tmp_path: Path):
    """Meta-training on test classes gives accuracies that are too good."""

    def change(pictures: Pictures) -> None:
        pictures.pop("n01855672")
        pictures["n01930112"] = pictures["n00000001"] = pictures["n02091244"]

    text = faulty(tmp_path, drawn, layout, change)
    assert "not the validation split of Ravi and Larochelle: 1 of 16 classes have no pictures: n01855672" in text
    assert "1 classes belong to the test split: n01930112" in text
    assert "1 classes are not of Mini-ImageNet: n00000001" in text


def test_a_class_without_pictures_is_missing(drawn: dict[Split, Pictures], tmp_path: Path):
    assert "no pictures: n02091244" in faulty(tmp_path, drawn, "folders", lambda p: p["n02091244"].clear())


def test_more_pictures_than_imagenet_has_are_refused(drawn: dict[Split, Pictures], tmp_path: Path):
    def change(pictures: Pictures) -> None:
        (content, *_) = pictures["n02091244"].values()
        pictures["n02091244"] = {f"{i}.jpg": content for i in range(1301)}

    assert "more than ImageNet's 1300 pictures: n02091244" in faulty(tmp_path, drawn, "tar", change)


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize("layout", WRITERS)
def test_all_layouts_of_the_same_pictures_give_the_same_tasks(
    layout: str, folders: Path, drawn: dict[Split, Pictures], tmp_path: Path
):
    for split in SPLITS:
        WRITERS[layout](tmp_path, split, drawn[split])
    found, expected = source(tmp_path), source(folders)
    for split in SPLITS:
        a, b = sample(found, split), sample(expected, split)
        assert torch.equal(a.support_x, b.support_x)
        assert torch.equal(a.query_x, b.query_x)
        assert found.class_digests(split) == expected.class_digests(split)
        assert list(found.class_digests(split)) == list(classes(split))
    assert "100 classes of 3 to 3 pictures of 84x84" in found.check()
    assert "NOT 600 each" in found.check()


def test_a_class_that_an_undivided_folder_lacks_is_named_and_other_folders_are_left_alone(
    drawn: dict[Split, Pictures], tmp_path: Path
):
    for split in SPLITS:
        write_unsplit(tmp_path, split, drawn[split])
    (tmp_path / "n99999999").mkdir()
    sample(source(tmp_path), "validation")
    shutil.rmtree(tmp_path / FIRST)
    with pytest.raises(DataError, match=f"1 of 16 classes have no pictures: {FIRST}"):
        sample(source(tmp_path), "validation")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[1:], r"val\.csv: expected lines of two values, the first of them filename,label"),
        (lambda lines: [*lines, "a,b,c"], "expected lines of two values"),
        (lambda lines: [*lines, f"gone.jpg,{FIRST}"], "1 of its 49 pictures are not in .*images: gone.jpg"),
        (lambda lines: [*lines, lines[-1]], "it has a picture of n[0-9]+ twice"),
        (lambda lines: [*lines, f"../../secret.jpg,{FIRST}"], "'../../secret.jpg' is no name of a picture"),
        (lambda lines: [*lines, f"/etc/passwd,{FIRST}"], "'/etc/passwd' is no name of a picture"),
        (lambda lines: [*lines, "a" * 200_000 + f",{FIRST}"], "it cannot be read: field larger than field limit"),
    ],
)
def test_a_list_that_is_amiss_is_refused(change: Any, told: str, drawn: dict[Split, Pictures], tmp_path: Path):
    write_listed(tmp_path, "validation", drawn["validation"])
    listing = tmp_path / "val.csv"
    listing.write_text("\n".join(change(listing.read_text().splitlines())))
    with pytest.raises(DataError, match=told) as caught:
        sample(source(tmp_path), "validation")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("split", SPLITS)
def test_images_are_those_of_their_class(folders: Path, split: Split):
    """Red tells the class, green the picture, blue the split."""
    episodes = sample(source(folders), split, n_tasks=30)
    for images, labels, each in ((episodes.support_x, episodes.support_y, 1), (episodes.query_x, episodes.query_y, 2)):
        assert images.shape == (30, 5 * each, 3, 84, 84)
        red, green, blue = (images.mean((3, 4)) * 255).unbind(2)
        of_class, of_picture = (red / 3).round().int(), (green / 60).round().int()
        assert (blue - 80 * SPLITS.index(split)).abs().max() < 3
        assert of_class.max() < SIZES[split]
        assert 0 <= of_picture.min() <= of_picture.max() < EACH
        by_task = of_class.view(30, 5, each)
        assert (by_task == by_task[:, :, :1]).all()
        assert all(len(set(row.tolist())) == 5 for row in by_task[:, :, 0])
        assert (labels.view(30, 5, each) == torch.arange(5)[:, None]).all()


def test_the_validation_folder_is_val_or_validation(drawn: dict[Split, Pictures], tmp_path: Path):
    write_folders(tmp_path, "validation", drawn["validation"])
    expected = sample(source(tmp_path), "validation").query_x
    (tmp_path / "val").rename(tmp_path / "validation")
    assert torch.equal(sample(source(tmp_path), "validation").query_x, expected)


def test_torchmetas_root_is_its_folder_or_the_parent(drawn: dict[Split, Pictures], tmp_path: Path):
    write_hdf5(tmp_path / "miniimagenet", "test", drawn["test"])
    a, b = (sample(source(root), "test").query_x for root in (tmp_path, tmp_path / "miniimagenet"))
    assert torch.equal(a, b)


def test_where_several_layouts_lie_the_first_one_is_read(drawn: dict[Split, Pictures], tmp_path: Path):
    (tmp_path / "mini-imagenet-cache-val.pkl").write_bytes(b"damaged")
    (tmp_path / "mini-imagenet-val.tar.xz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"mini-imagenet-val\.tar\.xz: it cannot be read, is damaged"):
        sample(source(tmp_path), "validation")
    (tmp_path / "val").mkdir()  # an empty folder is none
    write_tar(tmp_path, "validation", drawn["validation"])
    sample(source(tmp_path), "validation")


def test_a_missing_split_is_told_with_all_that_was_looked_for(tmp_path: Path):
    (tmp_path / "readme").touch()
    for root, told in ((tmp_path / "nowhere", "there is no folder"), (tmp_path, "it holds readme")):
        with pytest.raises(DataError, match=told) as caught:
            sample(source(root), "validation")
        assert str(root) in str(caught.value)
        assert "--data-root" in (caught.value.hint or "")
        licence = "non-commercial research and education only" in (caught.value.hint or "")
        assert licence == (root != tmp_path), "the terms help those who have no data yet"
    for name in ("val/<class>/*.jpg", "mini-imagenet-val.tar.xz", "mini-imagenet-cache-val.pkl", "val_data.hdf5"):
        assert name in str(caught.value)


def test_the_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HNAS_DATA", str(tmp_path))
    assert MiniImageNet().root == tmp_path / "mini-imagenet"
    assert list(MiniImageNet().remote_files()) == []


def test_a_folder_of_several_sets_may_be_named(tmp_path: Path):
    """Such as the one that HNAS_DATA names."""
    source = MiniImageNet(MiniImageNetOptions(root=str(tmp_path)))
    assert source.root == tmp_path
    (tmp_path / "mini-imagenet").mkdir()
    assert source.root == tmp_path / "mini-imagenet"


# ---------------------------------------------------------------- pictures


def test_pictures_of_other_sizes_are_scaled_whole(drawn: dict[Split, Pictures], tmp_path: Path):
    image = Image.new("RGB", (500, 200), (255, 0, 0))
    image.paste((0, 0, 255), (250, 0, 500, 200))
    file = io.BytesIO()
    image.save(file, "jpeg", quality=95)
    pictures: Pictures = {wnid: {"0.JPEG": file.getvalue()} for wnid in drawn["validation"]}
    pictures["n02091244"]["._0.JPEG"] = b"what a file manager leaves"
    write_folders(tmp_path, "validation", pictures)
    found = source(tmp_path)._prepare("validation").images
    assert found.shape == (16, 84, 84, 3)
    assert np.abs(found[:, :, :38].astype(int) - (254, 0, 0)).max() < 8
    assert np.abs(found[:, :, 46:].astype(int) - (0, 0, 254)).max() < 8


@pytest.mark.parametrize("layout", ["folders", "tar"])
def test_damaged_pictures_are_counted_and_named(layout: str, drawn: dict[Split, Pictures], tmp_path: Path):
    def change(pictures: Pictures) -> None:
        for wnid in list(pictures)[:5]:
            pictures[wnid][f"{wnid}00000001.jpg"] = b"no picture"

    text = faulty(tmp_path, drawn, layout, change)
    assert "5 of 48 pictures" in text
    assert "n01855672/n0185567200000001.jpg (not a picture" in text
    assert "; and 1 more" in text


def test_an_archive_that_is_cut_anywhere_is_refused(drawn: dict[Split, Pictures], tmp_path: Path):
    path = write_tar(tmp_path, "validation", drawn["validation"])
    whole = lzma.compress(lzma.decompress(path.read_bytes()) + bytes(1 << 20), preset=0)  # some end in many zeros
    path.write_bytes(whole)
    sample(source(tmp_path), "validation")
    for end in (0, 10, 1000, len(whole) // 2, len(whole) - 3000, len(whole) - 100, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"mini-imagenet-val\.tar\.xz: it cannot be read, is damaged or cut short"):
            sample(source(tmp_path), "validation")
    altered = bytearray(whole)
    altered[len(whole) // 2] ^= 0x55
    path.write_bytes(altered)
    with pytest.raises(DataError, match=r"mini-imagenet-val\.tar\.xz"):
        sample(source(tmp_path), "validation")


def tar_of(path: Path, *members: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:xz", preset=0) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)) if member.isreg() else None)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 5, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size if kind == tarfile.REGTYPE else 0, link
    return made


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([member("val/n1/a.jpg", tarfile.SYMTYPE, link="/etc/passwd")], "a.jpg is no plain file in the folder of a cl"),
        ([member("val/n1/a.jpg", tarfile.LNKTYPE, link="val/n1/b.jpg")], "a.jpg is no plain file"),
        ([member("val/n1/a.jpg", tarfile.FIFOTYPE)], "a.jpg is no plain file"),
        ([member("../../n1/a.jpg")], r"../../n1/a.jpg is no plain file"),
        ([member("/val/n1/a.jpg")], "/val/n1/a.jpg is no plain file"),
        ([member("a.jpg")], "a.jpg is no plain file in the folder of a class"),
        ([member("val/n1/a.jpg"), member("other/n1/a.jpg")], "n1/a.jpg is in it twice"),
        ([member("val/n1/a.jpg", size=65 << 20)], "a.jpg has 68157440 bytes, more than any picture"),
    ],
)
def test_members_that_are_no_pictures_of_a_class_are_refused(members: Any, told: str, tmp_path: Path, hnas_home: Path):
    tar_of(tmp_path / "mini-imagenet-val.tar.xz", *members)
    with pytest.raises(DataError, match=told):
        sample(source(tmp_path), "validation")


def test_an_archive_that_unpacks_without_end_is_left_early(
    tmp_path: Path, hnas_home: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "mini-imagenet-val.tar.xz"
    monkeypatch.setattr(pictures, "MAX_UNPACKED", 1 << 20)
    for name in ("val/n1/a.jpg", "val/n1/notes"):
        tar_of(path, member(name, size=8 << 20))
        with pytest.raises(DataError, match="it unpacks to more than 1048576 bytes"):
            sample(source(tmp_path), "validation")
    monkeypatch.setattr(pictures, "MAX_MEMBERS", 10)
    tar_of(path, *(member(f"{i}") for i in range(11)))
    with pytest.raises(DataError, match="more than 10 members"):
        sample(source(tmp_path), "validation")
    assert not list((hnas_home / "mini-imagenet").glob("*.part"))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_long_header_of_a_member_is_refused(form: int, tmp_path: Path):
    """`tarfile` reads extended headers into memory whole, whatever size they claim."""
    with tarfile.open(tmp_path / "mini-imagenet-val.tar.xz", "w:xz", preset=0, format=form) as archive:
        archive.addfile(member("val/" + "a" * (1 << 20)))
    with pytest.raises(DataError, match=r"10485\d\d bytes for a name or a link"):
        sample(source(tmp_path), "validation")


def test_an_xz_file_that_is_no_archive(tmp_path: Path):
    (tmp_path / "mini-imagenet-val.tar.xz").write_bytes(lzma.compress(b"text" * 1000))
    with pytest.raises(DataError, match="is damaged"):
        sample(source(tmp_path), "validation")


# ---------------------------------------------------------------- arrays


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


IMAGES = np.zeros((48, 84, 84, 3), np.uint8)
INDICES = {wnid: [3 * i, 3 * i + 1, 3 * i + 2] for i, wnid in enumerate(classes("validation"))}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (Evil(), "the global posix.system"),
        ([1], "no array image_data and dictionary class_dict"),
        ({"image_data": IMAGES}, "no array image_data and dictionary class_dict"),
        ({"image_data": IMAGES[:, :80], "class_dict": INDICES}, r"image_data is uint8 of \(48, 80, 84, 3\), expected"),
        ({"image_data": IMAGES.astype(np.float32)[:1], "class_dict": INDICES}, "image_data is float32 of"),
        ({"image_data": IMAGES, "class_dict": INDICES | {FIRST: [47, 48]}}, r"'n01855672'\] goes beyond the 48 images"),
        ({"image_data": IMAGES, "class_dict": INDICES | {FIRST: [-1]}}, "goes beyond"),
        ({"image_data": IMAGES, "class_dict": INDICES | {FIRST: [0.5]}}, "is no list of integers"),
        ({"image_data": IMAGES, "class_dict": INDICES | {FIRST: {}}}, "is no list of integers"),
        ({"image_data": IMAGES, "class_dict": INDICES | {FIRST: [47]}}, "has the same image twice"),
    ],
)
def test_pickles_of_anything_else_are_refused(content: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("mini-imagenet-cache-val.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=told) as caught:
        sample(source(tmp_path), "validation")
    assert "mini-imagenet-cache-val.pkl" in str(caught.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_every_protocol(protocol: int, drawn: dict[Split, Pictures], tmp_path: Path):
    pictures = drawn["validation"]
    where = {wnid: np.array(indices) for wnid, indices in members(pictures).items()}
    content = pickle.dumps({"image_data": decoded(pictures), "class_dict": where}, protocol)
    (tmp_path / "mini-imagenet-cache-val.pkl").write_bytes(content)
    assert (source(tmp_path)._prepare("validation").images == decoded(pictures)).all()


def test_hdf5_without_h5py_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "val_data.hdf5").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="needs the package h5py") as caught:
        sample(source(tmp_path), "validation")
    assert caught.value.hint == "pip install h5py"


def test_hdf5_files_of_anything_else_are_refused(drawn: dict[Split, Pictures], tmp_path: Path):
    path = write_hdf5(tmp_path, "validation", drawn["validation"])
    h5py = pytest.importorskip("h5py")
    told = []
    for change in (
        lambda file: file["datasets"].create_group("n00000001"),
        lambda file: (file["datasets"].pop("n00000001"), file["datasets"].pop(FIRST)),
        lambda file: file["datasets"].create_dataset(FIRST, data=np.zeros((3, 84, 84), np.uint8)),
        lambda file: file.pop("datasets"),
    ):
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(DataError, match=r"val_data\.hdf5") as caught:
            sample(source(tmp_path), "validation")
        told.append(str(caught.value).partition(".hdf5: ")[2])
    assert told[0] == "n00000001 is no data set"
    assert told[1] == f"{FIRST} is no data set"  # the list of labels names it
    assert told[2] == f"{FIRST} is uint8 of (3, 84, 84), expected uint8 of (n, 84, 84, 3)"
    assert told[3] == "it has no group datasets"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="it is damaged, or not HDF5"):
        sample(source(tmp_path), "validation")


@pytest.mark.parametrize("how", ["a link", "a link in the file", "external", "virtual", "large", "the group"])
def test_hdf5_files_that_lead_to_others_are_refused(how: str, drawn: dict[Split, Pictures], tmp_path: Path):
    """They could lead to any file of the user's, whose bytes would become images, or unpack to 4 GB."""
    h5py = pytest.importorskip("h5py")
    path, secret = write_hdf5(tmp_path, "validation", drawn["validation"]), tmp_path / "secret"
    shape = (3, 84, 84, 3)
    secret.write_bytes(bytes(3 * 84 * 84 * 3))
    write_hdf5(tmp_path / "other", "validation", drawn["validation"]).rename(tmp_path / "other.hdf5")
    with h5py.File(path, "a") as file:
        group = file["datasets"]
        group.move(FIRST, "kept")
        if how == "a link":
            group[FIRST] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), f"/datasets/{FIRST}")
        elif how == "a link in the file":
            group[FIRST] = h5py.SoftLink("/datasets/kept")
        elif how == "external":
            group.create_dataset(FIRST, shape, np.uint8, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        elif how == "virtual":
            layout = h5py.VirtualLayout(shape, np.uint8)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), f"/datasets/{FIRST}", shape)
            group.create_virtual_dataset(FIRST, layout)
        elif how == "large":
            group.create_dataset(
                FIRST, shape, np.uint8, maxshape=(None, *shape[1:]), chunks=(190_000, *shape[1:]), compression="gzip"
            )
        else:
            file.pop("datasets")
            file["datasets"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "/datasets")
    told = "datasets is a link" if how == "the group" else f"{FIRST} (is a link|are in other files|are in parts of)"
    with pytest.raises(DataError, match=told):
        sample(source(tmp_path), "validation")


@pytest.mark.parametrize("name", [".", "..", "", "a/b", "/datasets", "\0"])
def test_a_name_in_the_labels_leads_nowhere_else(name: str, drawn: dict[Split, Pictures], tmp_path: Path):
    pytest.importorskip("h5py")
    write_hdf5(tmp_path, "validation", drawn["validation"])
    (tmp_path / "val_labels.json").write_text(json.dumps([name]))
    with pytest.raises(DataError, match=r"val_data\.hdf5: .*is no data set|val_labels"):
        sample(source(tmp_path), "validation")


def test_damage_of_any_part_of_an_hdf5_file_is_named(drawn: dict[Split, Pictures], tmp_path: Path):
    path = write_hdf5(tmp_path, "validation", drawn["validation"])
    sound = path.read_bytes()
    for at in range(0, len(sound), len(sound) // 24):
        path.write_bytes(sound[:at] + bytes(len(sound) - at))
        with suppress(DataError):  # else only pictures were lost
            sample(source(tmp_path), "validation")


# ---------------------------------------------------------------- starts


def test_a_split_is_decoded_when_asked_for_and_once(drawn: dict[Split, Pictures], tmp_path: Path, hnas_home: Path):
    write_tar(tmp_path, "train", drawn["train"])
    (tmp_path / "mini-imagenet-test.tar.xz").write_bytes(b"damaged, which a training need not know")
    before = set((hnas_home / "mini-imagenet").glob("*.npy"))
    found = source(tmp_path)
    sample(found)
    (made,) = set((hnas_home / "mini-imagenet").glob("*.npy")) - before
    written = made.stat().st_mtime_ns
    start = time.perf_counter()
    sample(source(tmp_path), n_tasks=1)
    assert time.perf_counter() - start < 1  # second
    assert made.stat().st_mtime_ns == written
    os.utime(tmp_path / "mini-imagenet-train.tar.xz")
    sample(source(tmp_path), n_tasks=1)
    assert len(set((hnas_home / "mini-imagenet").glob("*.npy")) - before) == 2


def test_a_changed_picture_is_seen(drawn: dict[Split, Pictures], tmp_path: Path):
    write_folders(tmp_path, "validation", drawn["validation"])
    before = source(tmp_path)._prepare("validation").images[0, 0, 0].tolist()
    (tmp_path / "val" / FIRST / f"{FIRST}00000000.jpg").write_bytes(jpeg("test", 60, 2))
    known = source(tmp_path).class_digests("validation")
    (tmp_path / "val" / FIRST / f"{FIRST}00000000.jpg").write_bytes(jpeg("test", 60, 1))
    assert source(tmp_path)._prepare("validation").images[0, 0, 0].tolist() != before
    assert [n for n, d in source(tmp_path).class_digests("validation").items() if d != known[n]] == [FIRST]


def test_check_reads_all_and_finds_a_flipped_byte(drawn: dict[Split, Pictures], tmp_path: Path):
    for split in SPLITS:
        write_tar(tmp_path, split, drawn[split])
    found = source(tmp_path)
    found.check()
    with open(found._prepare("test").path, "rb+") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"\x99")
    with pytest.raises(DataError, match="is damaged: it has the checksum"):
        source(tmp_path).check()
    source(tmp_path).check()  # made anew


def test_workers_get_no_images(folders: Path):
    """They open the file themselves; sending it would cost its size for each."""
    found = source(folders)
    expected = sample(found).query_x
    sent = pickle.dumps(found)
    assert len(sent) < 2000
    assert torch.equal(sample(pickle.loads(sent)).query_x, expected)  # noqa: S301


def test_options_load_neither_torch_nor_pillow():
    told = (
        "import sys; from hnas_plugins.tasks.mini_imagenet.source import MiniImageNetOptions\n"
        "print(sorted({'torch', 'PIL', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---------------------------------------------------------------- sampling


def test_one_seed_is_one_batch(folders: Path):
    found = source(folders)
    a, b, other = (sample(found, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.query_x, b.query_x)
    assert not torch.equal(a.query_x, other.query_x)


def test_augmentation_changes_training_tasks_only(folders: Path):
    plain, changed = source(folders), source(folders, colour=0.5)
    assert not torch.equal(sample(plain).query_x, sample(changed).query_x)
    for split in ("validation", "test"):
        assert torch.equal(sample(plain, split).query_x, sample(changed, split).query_x)


def test_too_many_images_or_classes_are_refused_with_the_numbers(folders: Path):
    with pytest.raises(DataError, match="mini-imagenet's train split has 3 images a class"):
        sample(source(folders), n_query=3)
    with pytest.raises(DataError, match="validation split has 16 classes, a 17-way task needs 17"):
        sample(source(folders), "validation", n_way=17)


# ---------------------------------------------------------------- the real one


@pytest.mark.slow
def test_the_real_set(real_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HNAS_HOME", str(tmp_path))
    root = real_data("mini-imagenet")
    found = source(root)
    assert found.check() == "100 classes x 600 pictures of 84x84 in colour, Ravi and Larochelle's split"
    start = time.perf_counter()
    again = source(root)
    for split in SPLITS:
        sample(again, split, n_tasks=1, n_query=15)
    assert time.perf_counter() - start < 1  # second
    for k_shot, low, high in ((1, 0.235, 0.275), (5, 0.28, 0.33)):  # 0.25 and 0.30 are known for 300 tasks
        accuracies = []
        for seed in range(30):
            episodes = sample(again, "test", seed, n_tasks=10, k_shot=k_shot, n_query=15)
            small = [
                F.avg_pool2d(x.flatten(0, 1), 4).unflatten(0, (10, -1)) for x in (episodes.support_x, episodes.query_x)
            ]
            pooled = Episodes(
                support_x=small[0], support_y=episodes.support_y, query_x=small[1], query_y=episodes.query_y
            )
            accuracies.append(nearest_class_mean(pooled))
        assert low < torch.cat(accuracies).mean() < high


class TestConforms(TasksConformance):
    options = MiniImageNetOptions
    images_per_class = EACH
    spec = EpisodeSpec(n_way=3, k_shot=1, n_query=2)
    n_tasks = 10

    @pytest.fixture(autouse=True)
    def _given(self, folders: Path) -> None:
        self.root = folders

    def make(self) -> MiniImageNet:
        return source(self.root)
