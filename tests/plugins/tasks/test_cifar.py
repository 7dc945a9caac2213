"""FC100 and CIFAR-FS, from a small CIFAR-100 that the tests write as its authors did, with Python 2's pickles."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from hnas import DataError, EpisodeSpec
from hnas.episode import Episodes
from hnas.task_source import SPLITS, Split
from hnas.testing import TasksConformance
from hnas_plugins.tasks.cifar import content as cifar_content
from hnas_plugins.tasks.cifar import files
from hnas_plugins.tasks.cifar import source as cifar
from hnas_plugins.tasks.cifar.source import Cifar, CifarOptions, cifar_fs, fc100, read_cifar
from hnas_plugins.tasks.cifar.splits import classes, labels, superclasses

NAMES = [c.name for c in classes()]
COARSE = [superclasses().index(c.superclass) for c in classes()]
PER_CLASS = {"train": 6, "test": 2}
SLOPE = (np.arange(32)[:, None] * 3 + np.arange(32)).astype(np.uint8)
"""The blue of every image; another order of rows or columns would change it."""

Content = dict[str, dict[str, Any]]
Change = Callable[[Content], None]


def python_2(value: Any) -> bytes:
    """Write a value as cPickle of Python 2 does in protocol 2: text is bytes, and everything is put into the memo."""
    memo = iter(range(1 << 30))

    def put() -> bytes:
        number = next(memo)
        return b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)

    def write(value: Any) -> bytes:
        if isinstance(value, dict):
            return b"}" + put() + b"(" + b"".join(write(k) + write(v) for k, v in value.items()) + b"u"
        if isinstance(value, list):
            return b"]" + put() + b"(" + b"".join(map(write, value)) + b"e"
        if isinstance(value, str):
            return b"U" + bytes([len(value)]) + value.encode() + put()
        if isinstance(value, int):
            return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
        raw = value.tobytes()
        return (
            b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"cnumpy\nndarray\n" + put() + b"K\x00\x85U\x01b\x87R"
            b"(K\x01("
            + b"".join(map(write, value.shape))
            + b"tcnumpy\ndtype\nU\x02"
            + value.dtype.str[1:].encode()
            + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            b"T" + struct.pack("<I", len(raw)) + raw + b"tb"
        )

    return b"\x80\x02" + write(value) + b"."


def part(per_class: int, first: int, seed: int) -> dict[str, Any]:
    """Make images whose red is their class and whose green is their number in it, in a random order of classes."""
    fine = np.random.default_rng(seed).permutation(np.repeat(np.arange(100), per_class))
    number = np.zeros(len(fine), int)
    for label in range(100):
        number[fine == label] = first + np.arange(per_class)
    planes = np.empty((len(fine), 3, 32, 32), np.uint8)
    planes[:, 0], planes[:, 1], planes[:, 2] = fine[:, None, None], number[:, None, None], SLOPE
    return {
        "filenames": [f"picture_s_{i:06d}.png" for i in range(len(fine))],
        "batch_label": "training batch 1 of 1",
        "fine_labels": fine.tolist(),
        "coarse_labels": [COARSE[label] for label in fine],
        "data": planes.reshape(len(fine), 3072),
    }


def drawn() -> Content:
    return {
        "train": part(PER_CLASS["train"], 0, 0),
        "test": part(PER_CLASS["test"], PER_CLASS["train"], 1),
        "meta": {"fine_label_names": list(NAMES), "coarse_label_names": list(superclasses())},
    }


def write_folder(root: Path, content: Content, write: Callable[[Any], bytes] = python_2) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, value in content.items():
        (folder / name).write_bytes(write(value))
    return root


def binary(content: Content) -> dict[str, bytes]:
    """Write the binary release's files: coarse label, fine label and image of each picture; names line by line."""

    def records(part: dict[str, Any]) -> bytes:
        columns = [np.array(part[key], np.uint8)[:, None] for key in ("coarse_labels", "fine_labels")]
        return np.concatenate([*columns, part["data"]], 1).tobytes()

    names = {f"{key}.txt": "\n".join([*listed, ""]).encode() + b"\n" for key, listed in content["meta"].items()}
    return {"train.bin": records(content["train"]), "test.bin": records(content["test"]), **names}


def write_binary(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, value in members.items():
        (folder / name).write_bytes(value)
    return folder


def write_tar(
    root: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE, name: str = "cifar-100-python.tar.gz"
) -> Path:
    root.mkdir(exist_ok=True)
    with tarfile.open(root / name, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content) * (kind == tarfile.REGTYPE), kind
            archive.addfile(member, io.BytesIO(content))
    return root


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("cifar"), drawn())


@pytest.fixture(scope="module")
def members(unpacked: Path) -> dict[str, bytes]:
    """The archive's members in the official order, which is not that of reading, and one that nobody needs."""
    folder = unpacked / "cifar-100-python"
    content = {f"cifar-100-python/{n}": (folder / n).read_bytes() for n in ("meta", "test", "train")}
    return {"cifar-100-python/file.txt~": b"", **content}


@pytest.fixture(scope="module", params=["fc100", "cifar-fs"])
def source(request: pytest.FixtureRequest, unpacked: Path) -> Cifar:
    return Cifar(request.param, CifarOptions(root=str(unpacked)))


def sample(source: Cifar, split: Split = "train", seed: int = 0, n_tasks: int = 20, **size: int) -> Episodes:
    spec = EpisodeSpec(**{"n_way": 5, "k_shot": 2, "n_query": 3, **size})
    return source.sample(split, spec, [np.random.default_rng((seed, i)) for i in range(n_tasks)])


def spelled(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the class and the number of images (T, N, 3, 32, 32)."""
    red, green, blue = (x * 255).round().byte().numpy().transpose(2, 0, 1, 3, 4)
    assert (blue == SLOPE).all()
    assert (red == red[..., :1, :1]).all()
    assert (green == green[..., :1, :1]).all()
    return red[..., 0, 0], green[..., 0, 0]


# ---------------------------------------------------------------- the splits


def test_both_splits_divide_the_100_classes():
    for division, sizes in (("fc100", [60, 20, 20]), ("cifar-fs", [64, 16, 20])):
        parts = [labels(division, split) for split in SPLITS]
        assert [len(members) for members in parts] == sizes
        assert sorted(label for members in parts for label in members) == list(range(100))
    assert len(set(NAMES)) == 100
    assert sorted(NAMES) == NAMES


def test_fc100_divides_whole_superclasses():
    """Oreshkin et al. (2018), appendix A."""
    of = {split: {classes()[i].superclass for i in labels("fc100", split)} for split in SPLITS}
    assert of["validation"] == {
        "large_carnivores", "large_omnivores_and_herbivores", "non-insect_invertebrates", "small_mammals",
    }  # fmt: skip
    assert of["test"] == {"aquatic_mammals", "insects", "medium_mammals", "people"}
    assert len(of["train"]) == 12
    assert of["train"].isdisjoint(of["validation"] | of["test"])
    assert np.bincount(COARSE).tolist() == [5] * 20


def test_cifar_fs_holds_out_the_published_classes():
    """`splits/bertinetto/{val,test}.txt` of the data set that Bertinetto et al. (2019) published."""
    held_out = {
        "validation": "beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree motorcycle otter "
        "sea shark television tractor",
        "test": "baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail sweet_pepper "
        "table telephone wardrobe whale woman worm",
    }
    for split, names in held_out.items():
        assert [NAMES[i] for i in labels("cifar-fs", split)] == names.split()


def test_labels_are_those_of_the_official_files():
    """The superclass of the first 20 classes, as in every list of CIFAR-100's coarse labels."""
    assert COARSE[:20] == [4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11]


def test_shape_and_class_counts_need_no_data():
    for make, counts in ((fc100, [60, 20, 20]), (cifar_fs, [64, 16, 20])):
        nowhere = make(CifarOptions(root="/nowhere"))
        assert [nowhere.n_classes(split) for split in SPLITS] == counts
        assert nowhere.image_shape == (3, 32, 32)


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize("split", SPLITS)
def test_a_task_has_distinct_classes_of_its_split_and_no_image_twice(source: Cifar, split: Split):
    episodes = sample(source, split, n_tasks=50)
    (support, support_number), (query, query_number) = spelled(episodes.support_x), spelled(episodes.query_x)
    seen = set()
    for task in range(50):
        of_class = support[task][::2]
        assert len(set(of_class)) == 5
        assert (support[task] == np.repeat(of_class, 2)).all()
        assert (query[task] == np.repeat(of_class, 3)).all()
        shown = {*zip(support[task], support_number[task], strict=True)}
        shown |= {*zip(query[task], query_number[task], strict=True)}
        assert len(shown) == 25
        seen |= {int(number) for _, number in shown}
        assert {int(label) for label in of_class} <= set(labels(source._division, split))
    assert seen == set(range(8))  # of the training and of the test files


def test_one_seed_is_one_batch(source: Cifar):
    a, b, other = (sample(source, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.query_x, b.query_x)
    assert not torch.equal(a.query_x, other.query_x)


def test_augmentation_is_for_training_alone(unpacked: Path):
    plain, turned = (fc100(CifarOptions(root=str(unpacked), rotation=r)) for r in (0.0, 20.0))
    assert not torch.equal(sample(plain, "train").support_x, sample(turned, "train").support_x)
    for split in ("validation", "test"):
        assert torch.equal(sample(plain, split).support_x, sample(turned, split).support_x)


def test_too_many_images_are_refused_with_the_numbers(source: Cifar):
    with pytest.raises(DataError, match="train split has 8 images a class; 5 support and 4 query images need 9"):
        sample(source, k_shot=5, n_query=4)


def test_a_source_goes_to_a_worker_without_its_images(source: Cifar):
    expected = sample(source)
    sent = pickle.dumps(source)
    assert len(sent) < 2000
    assert torch.equal(sample(pickle.loads(sent)).query_x, expected.query_x)  # noqa: S301


# ---------------------------------------------------------------- reading


def test_images_stand_by_class_training_images_first(unpacked: Path):
    found = read_cifar(unpacked)
    assert found.images[..., 0].max(axis=(1, 2)).tolist() == np.repeat(np.arange(100), 8).tolist()
    assert found.images[..., 1].max(axis=(1, 2)).tolist() == list(range(8)) * 100
    assert (found.images[..., 2] == SLOPE).all()
    assert found.counts.tolist() == [8] * 100
    assert found.starts.tolist() == list(range(0, 800, 8))


def test_many_images_are_copied_in_parts(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cifar, "_ROWS", 7)
    again = write_folder(tmp_path, drawn())
    assert np.array_equal(read_cifar(again).images, read_cifar(unpacked).images)


def test_every_layout_gives_the_same(unpacked: Path, members: dict[str, bytes], tmp_path: Path):
    expected = read_cifar(unpacked).images
    dotted = {f"./{name}": content for name, content in members.items()}
    in_folder = {f"cifar-100-binary/{name}": value for name, value in binary(drawn()).items()}
    roots = [
        write_binary(tmp_path / "binary" / "cifar-100-binary", binary(drawn())).parent,
        write_binary(tmp_path / "binary itself", binary(drawn())),
        write_tar(tmp_path / "binary tar", in_folder, name="cifar-100-binary.tar.gz"),
        unpacked / "cifar-100-python",
        write_tar(tmp_path / "tar", members),
        write_tar(tmp_path / "dotted", dotted),
        write_folder(tmp_path / "python 3", drawn(), lambda value: pickle.dumps(value, 4)),
        write_folder(
            tmp_path / "bytes", drawn(), lambda value: pickle.dumps({k.encode(): v for k, v in value.items()}, 2)
        ),
    ]
    for root in roots:
        found = read_cifar(root)
        assert np.array_equal(found.images, expected), root
        assert (found.train_counts.tolist(), found.test_counts.tolist()) == ([6] * 100, [2] * 100)


@pytest.mark.parametrize("make", [fc100, cifar_fs])
def test_tasks_do_not_depend_on_the_release(make: Callable[..., Cifar], unpacked: Path, tmp_path: Path):
    write_binary(tmp_path / "cifar-100-binary", binary(drawn()))
    for split in SPLITS:
        one, other = (sample(make(CifarOptions(root=str(root))), split) for root in (unpacked, tmp_path))
        assert torch.equal(one.support_x, other.support_x)
        assert torch.equal(one.query_x, other.query_x)


def test_classes_are_named_with_their_content_whatever_the_release(source: Cifar, unpacked: Path, tmp_path: Path):
    known = {split: source.class_digests(split) for split in SPLITS}
    assert [len(members) for members in known.values()] == [source.n_classes(split) for split in SPLITS]
    assert len({digest for members in known.values() for digest in members.values()}) == 100
    content = drawn()
    for kind in ("same", "changed"):
        write_binary(tmp_path / kind / "cifar-100-binary", binary(content))
        other = Cifar(source._division, CifarOptions(root=str(tmp_path / kind)))
        found = {split: other.class_digests(split) for split in SPLITS}
        changed = [n for split in SPLITS for n in known[split] if found[split][n] != known[split][n]]
        assert changed == ([] if kind == "same" else [NAMES[content["train"]["fine_labels"][5]]])
        content["train"]["data"] = content["train"]["data"].copy()
        content["train"]["data"][5, 0] ^= 1


def test_a_class_with_too_few_images_is_named_even_if_it_is_not_drawn(tmp_path: Path):
    content = drawn()
    kept = np.flatnonzero(np.array(content["train"]["fine_labels"]) != NAMES.index("apple"))
    for key in ("fine_labels", "coarse_labels"):
        content["train"][key] = [content["train"][key][i] for i in kept]
    content["train"]["data"] = content["train"]["data"][kept]
    few = cifar_fs(CifarOptions(root=str(write_folder(tmp_path, content))))
    told = rf"1 of 64 classes with too few images: apple \({PER_CLASS['test']}\); 1 support and 5 query images need 6"
    for seed in range(10):
        with pytest.raises(DataError, match=told):
            sample(few, seed=seed, n_tasks=1, k_shot=1, n_query=5)


def test_an_incomplete_release_leaves_it_to_the_other(tmp_path: Path):
    write_binary(tmp_path / "cifar-100-binary", {"train.bin": b""})
    with pytest.raises(DataError, match="cifar-100-binary is incomplete, it has no file test"):
        read_cifar(tmp_path)
    assert len(read_cifar(write_folder(tmp_path, drawn())).images) == 800


def test_an_incomplete_folder_leaves_it_to_the_archive(members: dict[str, bytes], tmp_path: Path):
    write_folder(tmp_path, {"train": {}})
    with pytest.raises(DataError, match="cifar-100-python is incomplete, it has no file test, meta") as caught:
        read_cifar(tmp_path)
    assert "hnas data fetch fc100" in (caught.value.hint or "")
    assert len(read_cifar(write_tar(tmp_path, members)).images) == 800


def test_both_sources_share_what_the_first_has_read(unpacked: Path, hnas_home: Path):
    kept = hnas_home / "cifar-100"
    sample(fc100(CifarOptions(root=str(unpacked))))
    before = {p: p.stat().st_mtime_ns for p in kept.iterdir()}
    sample(cifar_fs(CifarOptions(root=str(unpacked))))
    assert {p: p.stat().st_mtime_ns for p in kept.iterdir()} == before


def test_a_second_start_opens_no_pickle(unpacked: Path, monkeypatch: pytest.MonkeyPatch):
    read_cifar(unpacked)
    monkeypatch.setattr(cifar_content, "read_pickle", None)
    assert len(read_cifar(unpacked).images) == 800


def test_changed_files_are_read_anew(tmp_path: Path):
    content = drawn()
    root = write_folder(tmp_path, content)
    assert read_cifar(root).images[0, 0, 0, 2] == 0
    content["train"]["data"] = content["train"]["data"].copy()
    content["train"]["data"][:, 2048] = 9
    (root / "cifar-100-python" / "train").write_bytes(python_2(content["train"]))
    assert read_cifar(root).images[0, 0, 0, 2] == 9


# ---------------------------------------------------------------- hostile and damaged files


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def bomb(doublings: int) -> bytes:
    """Write a list that holds a list twice, which holds a list twice, and so on: short, and endless to walk through."""
    return (
        b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c0" % (i, i, i + 1) for i in range(doublings)) + b"h%c." % doublings
    )


HOSTILE = {
    "a command": python_2({})[:-1] + pickle.dumps({"data": Evil()}, 2)[2:],
    "a plain command": pickle.dumps(Evil(), 2),
    "a command of Python 2": b"\x80\x02cposix\nsystem\nU\x09touch ran\x85R.",
    "a huge array": python_2({"data": np.zeros((2, 3072), np.uint8)}).replace(b"(K\x02", b"(J\xff\xff\xff\x7f"),
    "a huge string": b"\x80\x02}U\x04dataT\xff\xff\xff\x7fabcs.",
    "a list in lists": bomb(200),
    "a deep list": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "a pit of marks": b"\x80\x02" + b"(" * 20_000 + b".",
    "no pickle": b"\x89PNG\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("layout", ["folder", "tar"])
def test_a_hostile_file_is_refused_and_runs_nothing(
    kind: str, layout: str, members: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    content = {**members, "cifar-100-python/train": HOSTILE[kind]}
    if layout == "tar":
        root = write_tar(tmp_path / "set", content)
    else:
        (tmp_path / "set" / "cifar-100-python").mkdir(parents=True)
        root = tmp_path / "set"
        for name, value in content.items():
            (root / name).write_bytes(value)
    with pytest.raises(DataError, match=r"CIFAR-100: .*, train: "):
        read_cifar(root)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_unpacks_without_end_is_left_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    for name in ("train", "file.txt~"):
        root = write_tar(tmp_path / name, {f"cifar-100-python/{name}": bytes(8 << 20)})
        with pytest.raises(DataError, match="it unpacks to more than"):
            read_cifar(root)
    many = write_tar(tmp_path / "many", {f"{i}": b"" for i in range(100)})
    with pytest.raises(DataError, match="more than 64 members"):
        read_cifar(many)


def test_a_long_header_of_a_member_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`tarfile` reads extended headers into memory whole, whatever size they claim."""
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    with tarfile.open(tmp_path / "cifar-100-python.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("cifar-100-python/train")
        member.pax_headers = {"comment": "a" * (8 << 20)}
        archive.addfile(member)
    with pytest.raises(DataError, match="it unpacks to more than"):
        read_cifar(tmp_path)


def test_an_archive_cut_short_or_altered_is_refused(members: dict[str, bytes], tmp_path: Path):
    path = write_tar(tmp_path, members) / "cifar-100-python.tar.gz"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-4], whole[:-8] + bytes(8), b"no archive", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"tar\.gz: it (cannot be read|has no)") as caught:
            read_cifar(tmp_path)
        assert "hnas data fetch fc100" in (caught.value.hint or "")


def test_the_checksum_of_an_archive_is_read_though_the_files_come_before(members: dict[str, bytes], tmp_path: Path):
    path = write_tar(tmp_path, members) / "cifar-100-python.tar.gz"
    padded = gzip.compress(gzip.decompress(path.read_bytes()) + bytes(1 << 20), 1)
    path.write_bytes(padded[:-8] + bytes(4) + padded[-4:])
    with pytest.raises(DataError, match="CRC check failed"):
        read_cifar(tmp_path)
    path.write_bytes(padded)
    assert len(read_cifar(tmp_path).images) == 800


def test_an_archive_without_a_file_or_with_one_twice_or_a_link(members: dict[str, bytes], tmp_path: Path):
    less = {name: content for name, content in members.items() if not name.endswith("/meta")}
    with pytest.raises(DataError, match="it has no cifar-100-python/meta"):
        read_cifar(write_tar(tmp_path / "less", less))
    with pytest.raises(DataError, match="is in it twice"):
        read_cifar(write_tar(tmp_path / "twice", {**members, "x/cifar-100-python/meta": b""}))
    with pytest.raises(DataError, match="no plain file"):
        read_cifar(write_tar(tmp_path / "link", {"cifar-100-python/train": b""}, tarfile.SYMTYPE))


def set_value(name: str, key: str, value: Any) -> Change:
    return lambda content: content[name].__setitem__(key, value)


def change_label(key: str, value: Any) -> Change:
    return lambda content: content["test"][key].__setitem__(7, value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_value("train", "data", np.zeros((600, 3071), np.uint8)), r"train: data is uint8 of \(600, 3071\)"),
        (set_value("train", "data", np.zeros((600, 3072), np.int8)), "train: data is int8 of"),
        (set_value("test", "data", []), r"test: data is list, expected uint8 of \(images, 3072\)"),
        (lambda c: c["test"].pop("data"), "test: data is NoneType"),
        (lambda c: c["train"]["fine_labels"].pop(), "train: fine_labels has 599 labels for 600 images"),
        (lambda c: c["test"].pop("coarse_labels"), "test: coarse_labels is no list of integers"),
        (change_label("fine_labels", 100), "test: fine_labels has labels from 0 to 100, expected 0 to 99"),
        (change_label("fine_labels", -1), "test: fine_labels has labels from -1 to 99"),
        (change_label("coarse_labels", "fish"), "test: coarse_labels is no list of integers"),
        (change_label("coarse_labels", 20), "expected 0 to 19"),
        (lambda c: c["train"]["fine_labels"].sort(), "have a superclass that their class does not belong to: image"),
        (
            set_value("meta", "fine_label_names", NAMES[::-1]),
            "meta: fine_label_names has 100 names, beginning with worm",
        ),
        (set_value("meta", "coarse_label_names", NAMES[:20]), "meta: coarse_label_names has 20 names"),
        (lambda c: c["meta"].pop("fine_label_names"), "fine_label_names has no names"),
        (lambda c: c.update(train=[]), "train: it holds a list, expected a dictionary"),
    ],
)
def test_content_that_is_not_cifar_100_is_told(change: Change, told: str, tmp_path: Path):
    content = drawn()
    change(content)
    with pytest.raises(DataError, match=told) as caught:
        read_cifar(write_folder(tmp_path, content))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("key", ["fine_label_names", "coarse_label_names"])
def test_names_that_would_take_for_ever_to_write_are_refused_at_once(key: str, tmp_path: Path):
    """A list may hold another twice, that a third twice, and so on: 2 to the power of 40 parts in 400 bytes."""
    content, names = drawn(), list[Any]()
    for _ in range(40):
        names = [names, names]
    content["meta"][key] = names
    with pytest.raises(DataError, match=f"meta: {key} has 2 names, beginning with ") as caught:
        read_cifar(write_folder(tmp_path, content, lambda value: pickle.dumps(value, 2)))
    assert len(str(caught.value)) < 600


def test_what_python_3_writes_in_protocol_2_is_not_too_large():
    """Bytes become text, in which every second one of a photograph takes two: 269 MB for the official 186 MB."""
    some = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    grown = len(pickle.dumps(some, 2)) / some.size
    assert grown > 1.4
    assert grown * 186e6 < files.MAX_BYTES


BROKEN_BINARY: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "train.bin": (
        lambda b: b[:-1],
        "train.bin: it is damaged or cut short: it has 1844399 bytes, expected 3074",
    ),
    "test.bin": (lambda b: b"", "test.bin: it is damaged or cut short: it has 0 bytes"),
    "test.bin, a class": (
        lambda b: b[:1] + b"\x64" + b[2:],
        "test.bin: fine_labels has labels from 0 to 100, exp",
    ),
    "train.bin, labels": (lambda b: b[:1] + bytes([b[1] ^ 1]) + b[2:], "1 of 600 images have a superclass that their"),
    "train.bin, shifted": (
        lambda b: b[-1:] + b[:-1],
        r"train.bin: (coarse|fine)_labels has labels from",
    ),
    "fine_label_names.txt": (lambda b: b[::-1], "fine_label_names.txt: fine_label_names has 100 names, beginning with"),
    "coarse_label_names.txt": (
        lambda b: b"",
        "coarse_label_names.txt: coarse_label_names has no names; expected",
    ),
}


@pytest.mark.parametrize("broken", BROKEN_BINARY)
def test_a_damaged_file_of_the_binary_release_is_told_by_name(broken: str, tmp_path: Path):
    members, (change, told) = binary(drawn()), BROKEN_BINARY[broken]
    name = broken.partition(",")[0]
    members[name] = change(members[name])
    in_folder = {f"cifar-100-binary/{name}": value for name, value in members.items()}
    roots = [
        write_binary(tmp_path / "folder" / "cifar-100-binary", members).parent,
        write_tar(tmp_path / "tar", in_folder, name="cifar-100-binary.tar.gz"),
    ]
    for root in roots:
        with pytest.raises(DataError, match=told) as caught:
            read_cifar(root)
        assert str(root) in str(caught.value)
        assert "hnas data fetch fc100" in (caught.value.hint or "")


def test_a_class_without_images_is_named(tmp_path: Path):
    content = drawn()
    for name in PER_CLASS:
        kept = [i for i, label in enumerate(content[name]["fine_labels"]) if NAMES[label] != "bee"]
        for key in ("fine_labels", "coarse_labels"):
            content[name][key] = [content[name][key][i] for i in kept]
        content[name]["data"] = content[name]["data"][kept]
    with pytest.raises(DataError, match="1 of 100 classes have no images: bee"):
        read_cifar(write_folder(tmp_path, content))


def test_a_missing_root_or_other_files_are_told_with_how_to_get_it(tmp_path: Path):
    with pytest.raises(DataError, match="there is no folder"):
        read_cifar(tmp_path / "nowhere")
    (tmp_path / "cifar-10").touch()
    with pytest.raises(DataError, match=r"has neither .* nor cifar-100-python.tar.gz; it holds cifar-10$") as caught:
        sample(fc100(CifarOptions(root=str(tmp_path))))
    assert "hnas data fetch fc100" in (caught.value.hint or "")


# ---------------------------------------------------------------- what check says


def test_other_files_are_told_from_the_official_ones(unpacked: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    source = fc100(CifarOptions(root=str(unpacked)))
    assert source.check() == (
        "100 classes of 8 images of 32x32 in colour, NOT the official CIFAR-100, which has 500 + 100 of each: "
        "results will not compare"
    )
    monkeypatch.setattr(cifar, "PER_CLASS", PER_CLASS)
    shape = "100 classes x 8 images of 32x32 in colour"
    assert source.check() == f"{shape}, NOT the official files: results may not compare"
    checksums = {n: hashlib.md5((unpacked / "cifar-100-python" / n).read_bytes()).hexdigest() for n in drawn()}
    in_binary = {n: hashlib.sha256(v).hexdigest() for n, v in binary(drawn()).items() if n.endswith(".bin")}
    releases = evolve(files.BINARY, checksums=in_binary), evolve(files.PICKLED, checksums=checksums)
    monkeypatch.setattr(files, "RELEASES", releases)
    write_binary(tmp_path / "binary", binary(drawn()))
    for root in (write_folder(tmp_path / "pickled", drawn()), tmp_path / "binary"):
        assert fc100(CifarOptions(root=str(root))).check() == f"{shape}, the official files"


def test_the_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HNAS_DATA", raising=False)
    assert fc100().root == cifar_fs().root == tmp_path / "home" / "data" / "cifar-100"
    monkeypatch.setenv("HNAS_DATA", str(tmp_path / "sets"))
    assert fc100().root == cifar_fs().root == tmp_path / "sets" / "cifar-100"


def test_what_fetch_downloads_is_what_the_reader_looks_for(tmp_path: Path):
    (file,) = fc100(CifarOptions(root=str(tmp_path))).remote_files()
    assert (file.url, file.max_bytes) == ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", 168_513_733)
    write_tar(tmp_path, {f"cifar-100-binary/{n}": v for n, v in binary(drawn()).items()}, name=file.path.name)
    assert file.path.is_file()
    assert len(read_cifar(tmp_path).images) == 800
    assert file.mismatch(file.path) is not None
    assert file.md5
    assert file.sha256


def test_the_official_set_where_it_is():
    """No other real data are asked for here: this set is downloaded at will, so no run may require it."""
    data = os.environ.get("HNAS_DATA", "")
    if not data or not (Path(data) / "cifar-100").is_dir():
        pytest.skip("HNAS_DATA names no folder with cifar-100 in it")
    source = fc100(CifarOptions(root=str(Path(data) / "cifar-100")))
    assert source.check() == "100 classes x 600 images of 32x32 in colour, the official files"


class TestConforms(TasksConformance):
    options = CifarOptions
    images_per_class = sum(PER_CLASS.values())

    @pytest.fixture(autouse=True, params=["fc100", "cifar-fs"])
    def _given(self, request: pytest.FixtureRequest, unpacked: Path) -> None:
        self.given = request.param, unpacked

    def make(self) -> Cifar:
        name, root = self.given
        return Cifar(name, CifarOptions(root=str(root)))
