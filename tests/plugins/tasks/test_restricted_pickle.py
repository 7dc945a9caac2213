"""The reader of pickles: it must read what the data sets hold, and never run or build anything else."""

from __future__ import annotations

import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hnas import DataError
from hnas_plugins.tasks.pickles.reader import read_pickle

PROTOCOLS = (2, 3, 4, 5)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), np.uint8)


def old_numpy(content: bytes) -> bytes:
    """Rename numpy's modules as numpy 1 has them, in any protocol."""
    for module in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + module, b"numpy.core." + module
        content = content.replace(b"c" + new + b"\n", b"c" + old + b"\n")
        content = content.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(old)]) + old)
    return content


def python_2(shape: tuple[int, ...], content: bytes) -> bytes:
    """Write ``{"data": array}`` as cPickle of Python 2 does: str for both text and bytes, in protocol 2."""
    dtype = b"cnumpy\ndtype\nq\x05(U\x02u1K\x00K\x01tRq\x06(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    raw = b"T" + struct.pack("<I", len(content)) + content
    return (
        b"\x80\x02}q\x01U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b"
        b"\x87Rq\x07(K\x01(" + b"".join(b"K" + bytes([n]) for n in shape) + b"t" + dtype + b"\x89" + raw + b"tbs."
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("old", [False, True])
def test_a_dictionary_of_images_and_indices_comes_back_as_it_was(protocol: int, old: bool):
    value = {"image_data": IMAGES, "class_dict": {"n1": [0, 1, 300], "n2": np.arange(2, 70_000)}, b"k": (1, -5, "é")}
    content = pickle.dumps(value, protocol)
    if old:
        content = old_numpy(content)
        assert b"numpy._core" not in content
    read = read_pickle(content)
    assert read.keys() == value.keys()
    assert read["image_data"].dtype == np.uint8
    assert (read["image_data"] == IMAGES).all()
    assert read["class_dict"]["n1"] == [0, 1, 300]
    assert (read["class_dict"]["n2"] == np.arange(2, 70_000)).all()
    assert read[b"k"] == (1, -5, "é")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_of_every_kind(protocol: int):
    value = [None, True, False, 0, 255, 256, -1, 1 << 40, 1.5, "", "x" * 300, b"y" * 300, [], (), (1,), {1: {2: []}}]
    assert read_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["?", "<i8", ">i4", "<f4", ">u2", "u1"])
def test_arrays_of_every_number_and_order(protocol: int, dtype: str):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for kind in (array, np.asfortranarray(array), array.transpose(1, 0, 2), array[:, ::2], array[:0]):
        if kind.size == 0 and protocol == 2:
            continue  # Python 3 writes empty bytes by a call of `bytes`
        read = read_pickle(pickle.dumps(kind, protocol))
        assert read.dtype == kind.dtype
        assert np.array_equal(read, kind)
        assert not read.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_array_that_stands_in_two_places(protocol: int):
    read = read_pickle(pickle.dumps([IMAGES, IMAGES, {"again": IMAGES}], protocol))
    assert read[0] is read[1] is read[2]["again"]
    assert (read[0] == IMAGES).all()


def test_what_python_2_wrote():
    read = read_pickle(python_2((2, 3), b"\xff\x00\x80\x01\x02\x03"))
    assert read["data"].tolist() == [[255, 0, 128], [1, 2, 3]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_large_array_in_a_file_is_a_view_of_it(protocol: int, tmp_path: Path):
    """Mini-ImageNet's pickle has 813 MB: it is mapped, not read."""
    large = np.random.default_rng(1).integers(0, 256, (3 << 20), np.uint8)
    (tmp_path / "large.pkl").write_bytes(pickle.dumps({"a": large}, protocol))
    read = read_pickle(tmp_path / "large.pkl")["a"]
    assert (read == large).all()
    owner: Any = read
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert type(getattr(owner, "obj", owner)).__name__ == ("mmap" if protocol > 2 else "bytearray")


def test_a_large_string_of_python_2(tmp_path: Path):
    content = bytes(range(256)) * (1 << 13)
    (tmp_path / "large.pkl").write_bytes(python_2((128, 128, 128), content))
    assert read_pickle(tmp_path / "large.pkl")["data"].tobytes() == content


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value", [Evil(), {"image_data": Evil()}, [len], range(3), {1, 2}, complex(1), Path("a"), slice(1), np.float64(1)]
)
def test_nothing_is_called_and_no_class_is_looked_up(protocol: int, value: Any, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="expected plain values and arrays of numbers") as caught:
        read_pickle(pickle.dumps(value, protocol), "evil.pkl")
    assert "evil.pkl: at byte" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_is_named_is_not_even_imported():
    sys.modules.pop("antigravity", None)
    with pytest.raises(DataError, match=r"the global antigravity\.x"):
        read_pickle(b"\x80\x02cantigravity\nx\n.")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [np.array([{}, []], object), np.array(["a"]), np.array([b"a"]), np.zeros(2, "u1,i4"), np.array(["2020"], "M8[D]")],
)
def test_arrays_of_anything_but_numbers_are_refused(protocol: int, array: Any):
    with pytest.raises(DataError, match="an array of"):
        read_pickle(pickle.dumps({"image_data": array}, protocol))


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'ls'\ntR.",  # protocol 0
        b"\x80\x02cnumpy\nndarray\n(K\x09tR.",  # a known global, called
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"\x80\x02cnumpy\nndarray\n.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
        b"\x80\x02P0\n.",  # a persistent id
        b"\x80\x05\x97.",  # an out-of-band buffer
        b"\x80\x02(i__builtin__\neval\n.",
        b"\x80\x02}q\x00}q\x01b.",  # the state of a dictionary
        b"\x80\x02]K\x01K\x02s.",
        b"\x80\x02}K\x01\x85K\x02s.",  # a tuple as key
        b"\x80\x02\x82\x01.",  # an extension's code
    ],
)
def test_opcodes_out_of_place_are_refused(content: bytes):
    with pytest.raises(DataError, match=r"pickle: at byte \d+"):
        read_pickle(content)


@pytest.mark.parametrize(
    "use",
    [
        b"X\x01\x00\x00\x00ah\x00\x93",  # as the name of a global
        b"h\x00X\x01\x00\x00\x00a\x93",  # as its module
        b"c_codecs\nencode\nX\x01\x00\x00\x00ah\x00\x86R",
        b"cnumpy\ndtype\nh\x00K\x00K\x01\x87R",
    ],
)
def test_a_list_of_lists_of_lists_is_never_written_out(use: bytes):
    """The same list twice in one, that one twice in the next, and so on: it would take for ever."""
    content = b"]q\x00" + b"]q\x01h\x00ah\x00ah\x01q\x00" * 60
    with pytest.raises(DataError) as caught:
        read_pickle(b"\x80\x04" + content + use + b".")
    assert len(str(caught.value)) < 300


def test_a_short_file_cannot_make_much_memory():
    """The same text turned to bytes again and again would be the pickle's decompression bomb."""
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x00"
    again = b"".join(b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" for _ in range(1000))
    with pytest.raises(DataError, match="more bytes than the file has"):
        read_pickle(b"\x80\x02(" + text + again + b"t.")
    with pytest.raises(DataError, match="bytes expected"):
        read_pickle(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"a.")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_cut_anywhere_or_altered_gives_a_data_error_or_a_value(protocol: int):
    content = pickle.dumps({"image_data": IMAGES[:1], "class_dict": {"n1": [0, 1, 300]}}, protocol)
    for end in range(len(content)):
        with pytest.raises(DataError):
            read_pickle(content[:end])
    random = np.random.default_rng(protocol)
    refused = 0
    for _ in range(3000):
        altered = bytearray(content)
        altered[random.integers(len(content))] = random.integers(256)
        try:
            read_pickle(bytes(altered))
        except DataError:
            refused += 1
    assert refused > 300


def test_an_empty_or_missing_file_is_named(tmp_path: Path):
    (tmp_path / "empty.pkl").touch()
    for name in ("empty.pkl", "missing.pkl"):
        with pytest.raises(DataError, match=f"{name}: cannot be read"):
            read_pickle(tmp_path / name)
