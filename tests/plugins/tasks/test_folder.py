"""A user's own folder: whatever lies in it, tasks must show the right class, and faults must be told with names."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features

from hnas import DataError, EpisodeSpec
from hnas.episode import Episodes
from hnas.task_source import SPLITS, Split
from hnas_app.testing.expectation import sent_to_a_worker
from hnas_plugins.tasks.folder import reader
from hnas_plugins.tasks.folder.inventory import split_sizes
from hnas_plugins.tasks.folder.source import Folder, FolderOptions
from hnas_plugins.tasks.sampling import random_split

NAMES = [f"class {i:02d}" for i in range(15)]


def coloured(label: int, number: int) -> Image.Image:
    """Make a picture that is all of one colour, which tells its class and its number in it."""
    return Image.new("RGB", (12, 10), (16 * label, 8 * number, 77))


def write_class(path: Path, label: int, count: int, suffix: str = "png") -> None:
    path.mkdir(parents=True)
    for number in range(count):
        coloured(label, number).save(path / f"{number:03d}.{suffix}")


def write(root: Path, counts: Iterable[int], names: list[str] = NAMES) -> Path:
    for label, count in enumerate(counts):
        write_class(root / names[label], label, count)
    return root


def source(root: Path | str, **options: Any) -> Folder:
    return Folder(FolderOptions(root=str(root), **{"side": 8, **options}))


def sample(source: Folder, split: Split = "train", seed: int = 0, n_tasks: int = 20, **size: int) -> Episodes:
    spec = EpisodeSpec(**{"n_way": 5, "k_shot": 1, "n_query": 2, **size})
    return source.sample(split, spec, [np.random.default_rng((seed, i)) for i in range(n_tasks)])


def spelled(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the class and the number of images (T, N, 3, H, W)."""
    pixels = (x * 255).round().byte().numpy().transpose(2, 0, 1, 3, 4)
    assert (pixels == pixels[..., :1, :1]).all()
    red, green, blue = pixels[..., 0, 0]
    assert (blue == 77).all()
    return red // 16, green // 8


def all_images(source: Folder) -> tuple[np.ndarray, list[int], list[int]]:
    decoded = source._decoded
    return decoded.prepared.images, decoded.starts.tolist(), decoded.counts.tolist()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 classes of 4 to 6 pictures."""
    return write(tmp_path_factory.mktemp("plain"), [4 + i % 3 for i in range(15)])


# ---------------------------------------------------------------- splits


def test_every_split_gets_its_share_and_enough_for_usual_tasks():
    assert split_sizes(100) == {"train": 64, "validation": 16, "test": 20}
    assert split_sizes(20) == {"train": 10, "validation": 5, "test": 5}
    assert split_sizes(15) == {"train": 5, "validation": 5, "test": 5}
    assert split_sizes(6) == {"train": 2, "validation": 2, "test": 2}
    for n in range(6, 300):
        sizes = split_sizes(n)
        assert sum(sizes.values()) == n
        assert min(sizes.values()) >= min(5, n // 3)
        for seed in range(3):
            parts = [random_split(sizes, split, seed) for split in SPLITS]
            assert [len(part) for part in parts] == list(sizes.values())
            assert sorted(i for part in parts for i in part) == list(range(n))


def test_the_split_depends_on_its_seed_and_not_on_the_pictures(plain: Path, tmp_path: Path):
    one, two, other = source(plain), source(plain, split_seed=0), source(plain, split_seed=1)
    assert [one.class_names(s) for s in SPLITS] == [two.class_names(s) for s in SPLITS]
    assert one.class_names("test") != other.class_names("test")
    more = source(write(tmp_path, [7] * 15))
    assert one.class_names("test") == more.class_names("test")
    assert sorted(n for s in SPLITS for n in one.class_names(s)) == NAMES


def test_an_accent_is_sorted_alike_however_it_is_spelt(tmp_path: Path):
    """A folder that came from a Mac has its accents apart; the split must be the same there and here."""
    names = sorted(["été", "etz", "eta", "ñandú", "nz", "猫", "a b", "b"])
    for form in ("NFC", "NFD"):
        write(tmp_path / form, [3] * 8, [unicodedata.normalize(form, name) for name in names])
    composed, apart = (
        [[unicodedata.normalize("NFC", n) for n in source(tmp_path / form).class_names(s)] for s in SPLITS]
        for form in ("NFC", "NFD")
    )
    assert composed == apart
    assert sorted(n for part in composed for n in part) == sorted(names)


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_a_folder_that_says_its_split_is_taken_at_its_word(validation: str, tmp_path: Path):
    folders = {"train": "train", "validation": validation, "test": "test"}
    for i, split in enumerate(SPLITS):
        for label in range(5 * i, 5 * i + 5):
            write_class(tmp_path / folders[split] / NAMES[label], label, 4)
    (tmp_path / "annotations").mkdir()
    given = source(tmp_path)
    assert [list(given.class_names(s)) for s in SPLITS] == [NAMES[:5], NAMES[5:10], NAMES[10:]]
    for i, split in enumerate(SPLITS):
        seen, _ = spelled(sample(given, split).query_x)
        assert set(seen.ravel()) == set(range(5 * i, 5 * i + 5))
    assert "split by the folder" in given.check()


def test_classes_in_two_splits_are_refused(tmp_path: Path):
    """As in every folder for plain classification: accuracy would be that of classes seen in training."""
    for folder in ("train", "val", "test"):
        write(tmp_path / folder, [3] * 3)
    with pytest.raises(DataError, match=r"3 classes of .* are in both the train and the validation split: class 00"):
        source(tmp_path).n_classes("train")


def test_half_a_split_is_refused_but_a_class_may_be_called_train(tmp_path: Path):
    write(tmp_path / "train", [3] * 5)
    write(tmp_path / "test", [3] * 5)
    with pytest.raises(DataError, match="has train and test with sub-folders, but no val"):
        source(tmp_path).n_classes("train")
    vehicles = write(tmp_path / "vehicles", [3] * 6, ["train", "bus", "car", "ship", "tram", "van"])
    assert "train" in [n for s in SPLITS for n in source(vehicles).class_names(s)]
    write(tmp_path / "val", [3] * 5)
    (tmp_path / "validation").mkdir()
    with pytest.raises(DataError, match="has both val and validation"):
        source(tmp_path).n_classes("train")


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize("split", SPLITS)
def test_a_task_has_distinct_classes_of_its_split_and_no_picture_twice(plain: Path, split: Split):
    folder = source(plain)
    episodes = sample(folder, split, n_tasks=50, n_way=4)
    assert episodes.support_x.shape == (50, 4, *folder.image_shape)
    (support, support_number), (query, query_number) = spelled(episodes.support_x), spelled(episodes.query_x)
    for task in range(50):
        assert len(set(support[task])) == 4
        assert (query[task] == np.repeat(support[task], 2)).all()
        shown = {*zip(support[task], support_number[task], strict=True)}
        assert len(shown | {*zip(query[task], query_number[task], strict=True)}) == 12
    assert {NAMES[label] for label in support.ravel()} == set(folder.class_names(split))


def test_one_seed_is_one_batch_and_augmentation_is_for_training_alone(plain: Path):
    plainly, turned = source(plain), source(plain, colour=0.4)
    for split in SPLITS:
        a, b, changed = (sample(f, split).query_x for f in (plainly, plainly, turned))
        assert torch.equal(a, b)
        assert torch.equal(a, changed) == (split != "train")


def test_a_source_goes_to_a_worker_without_its_images(plain: Path):
    folder = source(plain)
    expected = sample(folder).query_x
    sent = pickle.dumps(folder)
    assert len(sent) < 2000
    assert torch.equal(sample(pickle.loads(sent)).query_x, expected)  # noqa: S301


def test_too_few_classes_are_told_with_folder_and_smallest_class(plain: Path):
    with pytest.raises(DataError, match="has 5 classes, a 6-way task needs 6") as caught:
        sample(source(plain), "test", n_way=6)
    assert str(plain) in str(caught.value)
    assert "its smallest class is class " in str(caught.value)


def test_classes_with_too_few_pictures_are_named_before_one_is_drawn(tmp_path: Path):
    folder = source(write(tmp_path, [2, 3, *[9] * 13]))
    (split,) = (s for s in SPLITS if "class 00" in folder.class_names(s))
    with pytest.raises(DataError, match=r"class 00 \(2\)") as caught:
        sample(folder, split, n_tasks=1, n_way=2)
    assert f"classes of the {split} split of {tmp_path} have too few pictures" in str(caught.value)
    assert "1 support and 2 query images need 3" in str(caught.value)
    assert "n_query (of meta_train, search, retrain and evaluate) of at most 2 together" in (caught.value.hint or "")


# ---------------------------------------------------------------- pictures


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def kinds() -> dict[str, tuple[bytes, tuple[int, int, int]]]:
    """Return files of many kinds by name, each with the colour that its top left corner must have."""
    turned = Image.new("RGB", (20, 20), (0, 0, 255))
    turned.paste((255, 0, 0), (0, 10, 20, 20))  # red below; half a turn brings it up
    exif = Image.Exif()
    exif[0x0112] = 3
    grey16 = Image.fromarray(np.full((9, 9), 25_700, np.uint16))
    found = {
        "a.PNG": (encode(Image.new("RGB", (9, 9), (250, 0, 0)), "png"), (250, 0, 0)),
        "turned.JpEg": (encode(turned, "jpeg", exif=exif, quality=95), (255, 0, 0)),
        "grey.png": (encode(Image.new("L", (9, 9), 100), "png"), (100, 100, 100)),
        "grey16.png": (encode(grey16, "png"), (100, 100, 100)),
        "clear.png": (encode(Image.new("RGBA", (9, 9), (255, 0, 0, 0)), "png"), (255, 255, 255)),
        "palette.png": (encode(Image.new("RGB", (9, 9), (0, 200, 0)).quantize(4), "png"), (0, 200, 0)),
        "moving.gif": (encode(Image.new("RGB", (9, 9), (0, 0, 200)), "gif"), (0, 0, 200)),
        "ünï côde.bmp": (encode(Image.new("RGB", (9, 9), (1, 2, 3)), "bmp"), (1, 2, 3)),
    }
    if features.check("webp"):
        found["web.webp"] = (encode(Image.new("RGB", (9, 9), (9, 9, 200)), "webp", lossless=True), (9, 9, 200))
    return found


def test_every_kind_of_picture_is_read(tmp_path: Path):
    write(tmp_path, [3] * 5)
    (tmp_path / "zoo").mkdir()
    for name, (content, _) in kinds().items():
        (tmp_path / "zoo" / name).write_bytes(content)
    images, starts, counts = all_images(source(tmp_path))
    assert counts[-1] == len(kinds())
    for i, (name, (_, expected)) in enumerate(sorted(kinds().items())):
        assert np.abs(images[starts[-1] + i][0, 0].astype(int) - expected).max() < 20, name


def test_pictures_keep_their_proportions_and_lose_the_ends(tmp_path: Path):
    write(tmp_path, [1] * 5)
    stripes = Image.new("RGB", (90, 30), (255, 0, 0))
    stripes.paste((0, 0, 255), (30, 0, 60, 30))
    (tmp_path / "z").mkdir()
    stripes.save(tmp_path / "z" / "0.png")
    stripes.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "z" / "1.png")
    images, starts, _ = all_images(source(tmp_path, side=12))
    square = images[starts[-1] :].astype(int)
    assert square.shape == (2, 12, 12, 3)
    assert (square[:, 3:-3, 3:-3] == (0, 0, 255)).all()
    assert np.abs(square - (0, 0, 255)).max() < 80  # Lanczos looks across the cut


def test_grey_has_one_channel_and_side_is_the_size(plain: Path):
    folder = source(plain, grey=True, side=20)
    assert folder.image_shape == (1, 20, 20)
    assert sample(folder).support_x.shape[2:] == (1, 20, 20)
    assert "images of 20x20 in grey" in folder.check()
    assert source(plain).image_shape == (3, 8, 8)


# ---------------------------------------------------------------- what else lies about


def test_hidden_and_other_files_are_passed_over_and_counted(tmp_path: Path):
    write(tmp_path, [3] * 6)
    for name in ("Thumbs.db", "notes.txt", ".hidden.png", "._000.png"):
        (tmp_path / "class 00" / name).write_bytes(b"x")
    (tmp_path / "loose.png").write_bytes(encode(coloured(0, 0), "png"))
    (tmp_path / ".git").mkdir()
    (tmp_path / "empty").mkdir()
    shutil.copytree(tmp_path / "class 01", tmp_path / "deep" / "below")
    folder = source(tmp_path)
    told = folder.check()
    assert "5 other files passed over" in told
    assert "2 folders left out: deep has only sub-folders, empty has no pictures" in told
    assert "too few classes for 5-way tasks in train, validation, test: set task.n_way=2" in told
    assert all_images(folder)[2] == [3] * 6


def test_what_check_says(plain: Path):
    told = source(plain).check()
    assert told.count("5 classes with") == 3
    assert "images of 8x8 in colour; split by seed 0" in told
    smallest = source(plain)._smallest("train")
    assert f"the smallest {smallest}" in told
    assert smallest.endswith(" with 4")
    assert "left out" not in told


def test_links_are_followed(plain: Path, tmp_path: Path):
    for name in NAMES[:6]:
        (tmp_path / name).symlink_to(plain / name)
    write_class(tmp_path / "z", 14, 2)
    (tmp_path / "z" / "linked.png").symlink_to(plain / NAMES[0] / "000.png")
    (tmp_path / "z" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "z" / "itself.png").symlink_to(tmp_path / "z" / "itself.png")
    folder = source(tmp_path)
    assert all_images(folder)[2] == [4, 5, 6, 4, 5, 6, 3]
    assert "2 other files passed over" in folder.check()


def test_links_in_a_circle_are_refused(plain: Path, tmp_path: Path):
    up = write(tmp_path / "up", [3] * 6)
    (up / "back").symlink_to(up)
    with pytest.raises(DataError, match=r"back in .* is a link that leads back to"):
        source(up).n_classes("train")
    itself = write(tmp_path / "itself", [3] * 6)
    (itself / "loop").symlink_to(itself / "loop")
    with pytest.raises(DataError, match=r"itself/loop: Too many levels of symbolic links"):
        source(itself).n_classes("train")


def test_a_folder_under_two_names_is_refused(tmp_path: Path):
    """The same pictures as two classes, which may even be in two splits."""
    write(tmp_path, [3] * 6)
    (tmp_path / "twin").symlink_to(tmp_path / "class 03")
    with pytest.raises(DataError, match=r"class 03 and twin in .* are the same folder"):
        source(tmp_path).n_classes("train")


@pytest.mark.skipif(os.name != "posix", reason="only there a name may be any bytes")
def test_a_name_that_is_no_text_can_be_told(tmp_path: Path):
    write(tmp_path, [3] * 6)
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(odd)
    with open(os.path.join(odd, b"\xff.png"), "wb") as file:
        file.write(encode(coloured(9, 0), "png"))
    folder = source(tmp_path)
    folder.check().encode()
    split = next(s for s in SPLITS if any("caf" in n for n in folder.class_names(s)))
    with pytest.raises(DataError, match=r"caf\\udce9 \(1\)") as caught:
        sample(folder, split, n_way=2)
    str(caught.value).encode()


# ---------------------------------------------------------------- damaged pictures


def damage(root: Path, many: int) -> list[str]:
    """Damage the first pictures of class 01: one cut short, one that is text, one empty, and so on."""
    noise = encode(Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)), "jpeg")
    contents = [noise[: len(noise) // 2], b"This is no picture.", b""]
    names = []
    for i in range(many):
        (root / "class 01" / f"{i:03d}.png").unlink()
        names.append(f"class 01/{i:03d}.jpg")
        (root / names[-1]).write_bytes(contents[i % 3])
    return names


def test_damaged_pictures_are_named_once_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture):
    write(tmp_path, [45, 30, *[45] * 13])
    names = damage(tmp_path, 6)  # of 660
    images, starts, counts = all_images(source(tmp_path))
    text = capsys.readouterr().err
    assert f"hnas: warning: folder: 6 of 660 pictures in {tmp_path} are damaged: class 01/000.jpg (" in text
    assert all(name in text for name in names[:4])
    assert "and 2 more; they are left out" in text
    assert counts == [45, 24, *[45] * 13]
    for label, (start, count) in enumerate(zip(starts, counts, strict=True)):
        assert (images[start : start + count, 0, 0, 0] == 16 * label).all()
    assert (images[starts[1] : starts[1] + 24, 0, 0, 1] == 8 * np.arange(6, 30)).all()
    again = source(tmp_path)
    assert all_images(again)[2] == counts
    assert capsys.readouterr().err == ""
    told = again.check()
    assert "6 damaged pictures left out: class 01/000.jpg (" in told
    split = next(s for s in SPLITS if "class 01" in again.class_names(s))
    assert f"{split} 5 classes with {24 + 4 * 45} pictures, the smallest class 01 with 24" in told


def test_more_than_one_in_a_hundred_damaged_ends_it(tmp_path: Path, hnas_home: Path):
    write(tmp_path, [20] * 15)
    damage(tmp_path, 4)
    for _ in range(2):
        with pytest.raises(DataError, match=r"4 of 300 pictures in .* are damaged: class 01/000.jpg .*; at most 1%"):
            sample(source(tmp_path))
    assert not list((hnas_home / "folder").glob("*.part"))


# ---------------------------------------------------------------- pictures that show nothing, and other kinds


def noisy(path: Path, n_classes: int, count: int, dtype: Any = np.uint8, most: int = 255) -> None:
    for label in range(n_classes):
        (path / NAMES[label]).mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng((label, i)).integers(0, most + 1, (12, 12), dtype)
            Image.fromarray(pixels).save(path / NAMES[label] / f"{i:03d}.png")


def test_pictures_of_one_colour_are_named_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture):
    noisy(tmp_path, 6, 3)
    (tmp_path / "class 02" / "000.png").write_bytes(encode(Image.new("L", (12, 12), 255), "png"))
    folder = source(tmp_path)
    assert all_images(folder)[2] == [3] * 6
    told = capsys.readouterr().err
    assert f"warning: folder: 1 of 18 pictures in {tmp_path} have one colour all over: class 02/000.png;" in told
    assert all_images(again := source(tmp_path))[2] == [3] * 6
    assert "1 pictures of one colour all over: class 02/000.png" in again.check()
    assert capsys.readouterr().err == ""


def test_a_set_of_12_bits_in_16_is_refused_rather_than_black(tmp_path: Path):
    noisy(tmp_path, 6, 3, np.uint16, 4095)
    with pytest.raises(
        DataError, match=r"18 of 18 pictures .* class 00/000.png \(its 16-bit values end at 40\d\d, as if"
    ):
        sample(source(tmp_path), n_way=2)


def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    noisy(tmp_path, 6, 3)
    (tmp_path / "class 01" / "photo.HEIC").write_bytes(b"x")
    (tmp_path / "class 05" / "notes.txt").write_bytes(b"x")
    told = source(tmp_path).check()
    assert "2 other files passed over; 1 of them pictures of kinds not read: class 01/photo.HEIC" in told
    assert "1 pictures in" in (warning := capsys.readouterr().err)
    assert "not read: class 01/photo.HEIC; save them as JPEG or PNG" in warning
    for path in tmp_path.glob("*/*.png"):
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"class 00 has no pictures, and other files such as 000\.heic") as caught:
        source(tmp_path).check()
    assert ".jfif" in (hint := caught.value.hint or "")
    assert "save others, such as .heic, as JPEG or PNG" in hint


@pytest.mark.parametrize("suffix", ["jpe", "jfif", "pgm", "pbm", "pnm", "ppm", "tif", "JPG"])
def test_every_ending_is_read(suffix: str, tmp_path: Path):
    kind = {"jpe": "jpeg", "jfif": "jpeg", "JPG": "jpeg", "tif": "tiff"}.get(suffix, "ppm")
    for label in range(6):
        (tmp_path / NAMES[label]).mkdir()
        image = Image.new("1" if suffix == "pbm" else "L", (9, 9), label % 2)
        (tmp_path / NAMES[label] / f"a.{suffix}").write_bytes(encode(image, kind))
    assert all_images(source(tmp_path))[2] == [1] * 6


# ---------------------------------------------------------------- Tiny-ImageNet


def test_tiny_imagenet_is_read_in_its_own_layout(tmp_path: Path):
    for label in range(15):
        write_class(tmp_path / "train" / NAMES[label] / "images", label, 4, "JPEG")
        (tmp_path / "train" / NAMES[label] / f"{NAMES[label]}_boxes.txt").write_text("0 0 1 1")
    write_class(tmp_path / "val" / "images", 0, 9, "JPEG")
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tclass 00\t0\t0\t1\t1\n")
    write_class(tmp_path / "test" / "images", 1, 9, "JPEG")
    folder = source(tmp_path)
    assert sorted(n for s in SPLITS for n in folder.class_names(s)) == NAMES
    assert all_images(folder)[2] == [4] * 15
    assert "the training pictures of Tiny-ImageNet" in folder.check()
    below = source(tmp_path / "train")
    assert [below.class_names(s) for s in SPLITS] == [folder.class_names(s) for s in SPLITS]


def test_pictures_that_are_too_deep_are_named(tmp_path: Path):
    write(tmp_path / "train", [1] * 5, [f"{i}/photos" for i in range(5)])
    for split in ("val", "test"):
        write(tmp_path / split, [1] * 5, [f"{split}{i}" for i in range(5)])
    told = "0 for train; .*; train.0 has only sub-folders, .*; pictures in train.0.photos would be too deep"
    with pytest.raises(DataError, match=told):
        source(tmp_path).n_classes("train")


# ---------------------------------------------------------------- the cache


def test_a_second_start_decodes_nothing_and_a_seed_needs_no_new_images(plain: Path, monkeypatch: pytest.MonkeyPatch):
    expected = sample(source(plain)).query_x
    monkeypatch.setattr(reader, "decode_into", None)
    assert torch.equal(sample(source(plain)).query_x, expected)
    sample(source(plain, split_seed=3))
    with pytest.raises(TypeError):
        sample(source(plain, side=9))
    with pytest.raises(TypeError):
        sample(source(plain, grey=True))


def test_classes_are_named_with_the_bytes_of_their_pictures(plain: Path, tmp_path: Path):
    """Not with where or when they were written, nor with the size that they are decoded at."""
    known = {split: source(plain).class_digests(split) for split in SPLITS}
    assert {split: list(members) for split, members in known.items()} == {
        split: source(plain).class_names(split) for split in SPLITS
    }
    shutil.copytree(plain, tmp_path / "elsewhere", copy_function=shutil.copy)
    for path in (tmp_path / "elsewhere").rglob("*.png"):
        os.utime(path, (1, 1))
    found = source(tmp_path / "elsewhere", side=9, grey=True)
    assert {split: found.class_digests(split) for split in SPLITS} == known


def test_an_accented_name_is_one_class_however_it_is_spelled(tmp_path: Path):
    spellings = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    known = [source(write(tmp_path / str(i), [2] * 6, [name, *NAMES[:5]])) for i, name in enumerate(spellings)]
    assert known[0].class_digests("train").keys() == known[1].class_digests("train").keys()


def test_a_folder_restricted_to_some_classes_is_what_it_was_without_the_others(
    plain: Path, tmp_path: Path, monkeypatch
):
    """Nothing is decoded again for it."""
    few = source(shutil.copytree(plain, tmp_path / "pictures"))
    expected = {split: sample(few, split) for split in SPLITS}
    for name in ("class 00b", "another"):
        write_class(tmp_path / "pictures" / name, 9, 5)
    more = source(tmp_path / "pictures")
    monkeypatch.setattr(reader, "decode_into", None)
    found = more.restricted_to(NAMES)
    assert found is not None
    for split in SPLITS:
        assert found.class_names(split) == few.class_names(split) != more.class_names(split)
        assert torch.equal(sample(found, split).query_x, expected[split].query_x)
    there = sent_to_a_worker(found, "folder")
    assert there.class_digests("test") == few.class_digests("test")
    assert few.restricted_to(NAMES) is few
    assert few.restricted_to([*NAMES, "nowhere"]) is None


def test_a_class_with_too_few_files_is_refused_before_anything_is_decoded(plain: Path, monkeypatch):
    monkeypatch.setattr("hnas_plugins.tasks.folder.source.read_folder", None)
    with pytest.raises(DataError, match=r"classes of the test split .* have too few pictures: .*1 support and 4 query"):
        sample(source(plain), "test", n_query=4)


def test_a_changed_folder_is_decoded_anew(tmp_path: Path):
    def reds() -> list[int]:
        images, starts, counts = all_images(source(tmp_path))
        return [int(i[0, 0, 0]) for s, n in zip(starts, counts, strict=True) for i in images[s : s + n]]

    write(tmp_path, [1] * 6)
    assert reds() == [0, 16, 32, 48, 64, 80]
    path = tmp_path / "class 02" / "000.png"
    before = path.stat()
    coloured(13, 0).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert reds() == [0, 16, 208, 48, 64, 80]
    shutil.copy(path, tmp_path / "class 00" / "001.png")
    assert reds() == [0, 208, 16, 208, 48, 64, 80]
    path.rename(tmp_path / "class 00" / "0.png")
    coloured(12, 0).save(path)
    assert reds() == [208, 0, 208, 16, 192, 48, 64, 80]


def test_a_picture_that_vanishes_between_listing_and_decoding_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture):
    write(tmp_path, [20] * 15)
    folder = source(tmp_path)
    assert folder.n_classes("train") == 5
    (tmp_path / "class 04" / "007.png").unlink()
    assert all_images(folder)[2] == [20, 20, 20, 20, 19, *[20] * 10]
    assert "1 of 300 pictures" in (told := capsys.readouterr().err)
    assert "No such file" in told


# ---------------------------------------------------------------- mistakes


def test_no_folder_an_empty_one_or_none_of_classes_each_say_what_to_do(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    coloured(0, 0).save(tmp_path / "flat" / "0.png")
    shutil.copytree(write(tmp_path / "few", [3] * 5), tmp_path / "deep" / "all" / "of it")
    expected = {
        "": "no folder of pictures was named",
        "nowhere": "there is no folder .*nowhere",
        "file": "file is a file, not a folder",
        "empty": "empty has no sub-folders of pictures; 0 other files are in it",
        "flat": "flat has no sub-folders of pictures; 1 other files are in it",
        "deep": "deep has no sub-folders of pictures; 0 other files are in it; all has only sub-folders",
        "few": "few has 5 classes of pictures; three splits of at least 2 classes each need 6",
    }
    for name, told in expected.items():
        with pytest.raises(DataError, match=told) as caught:
            source(tmp_path / name if name else "").n_classes("train")
        assert "DIR/cat/1.jpg" in (caught.value.hint or "")
    with pytest.raises(DataError) as caught:
        source("").check()
    assert "--data-root DIR" in (caught.value.hint or "")


def test_a_split_of_the_folder_with_too_few_classes_is_named(tmp_path: Path):
    write(tmp_path / "train", [3] * 5)
    write(tmp_path / "val", [3], ["one"])
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="too few classes of pictures, 1 for validation, 0 for test"):
        source(tmp_path).n_classes("train")


def test_nothing_is_read_before_it_is_needed():
    """`hnas data list` makes every source, with its defaults."""
    folder = Folder()
    assert folder.image_shape == (3, 84, 84)
    assert folder.remote_files() == ()


@pytest.mark.parametrize("options", [{"side": 0}, {"split_seed": -1}, {"grey": "no"}])
def test_options_out_of_range_are_refused(options: dict[str, Any]):
    with pytest.raises((ValueError, TypeError)):
        FolderOptions(**options)
