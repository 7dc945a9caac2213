"""Damaged and hostile data sets, pictures and archives: refused in bounded time and memory, and no code runs."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tests.campaign.bed import Bed
from tests.campaign.mutate import damaged, word
from tests.campaign.verdict import faults, last

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
CODE = b"cos\nsystem\n(S'touch %s'\ntR."
"""A pickle that runs a command."""


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Damage one file of a small data set, or put a hostile one there, and have it read."""
    name, root = _copy(bed, rng, folder)
    files = sorted(p for p in root.rglob("*") if p.is_file())
    path = rng.choice(files)
    ran = folder / "code-ran"
    if sound := rng.random() < 0.1:  # else nobody would notice that nothing is ever read
        what, content = "as it was", path.read_bytes()
    elif rng.random() < 0.5:
        what, content = damaged(rng, path.read_bytes(), rng.choice(files).read_bytes())
    else:
        what, content = _hostile(rng, path, ran)
    path.write_bytes(content)
    if not sound and rng.random() < 0.15:
        what += " under another name"
        path = path.rename(
            path.with_name(rng.choice(("\x1b[31m.png", "a\nb.png", "x" * 200 + ".png", "-.png", path.stem)))
        )
    told = f"{name}, {path.relative_to(root)!s} is {what}"
    if name == "pictures":
        run = Path(shutil.copytree(bed.finished / "run", folder / "run"))
        words = ["adapt", str(run), "--pictures", str(root), "--set", "strategy.iterations=1", "--json"]
    elif name == "model":
        words = ["predict", str(root / "model.onnx"), str(root / "picture.png"), "--json"]
    else:
        words = ["data", "check", name, "--data-root", str(root), *(["--json"] if rng.random() < 0.5 else [])]
    done = bed.call(words, home=_home(bed, folder), cwd=folder, seconds=100)
    yield from (f"{told!a}: {fault}" for fault in faults(done, seconds=90))
    if sound and done.code != 0:
        yield f"{told}: exit code {done.code}: {last(done.err)}"
    if ran.exists():
        yield f"{told}: the code in it ran"
    if done.code == 0 and "--json" in words:
        try:
            json.loads(done.out)
        except ValueError:
            yield f"{told}: exit 0, and no JSON: {done.out[:100]!r}"


def _home(bed: Bed, folder: Path) -> Path:
    home = folder / "home"
    home.mkdir()
    for name in ("engine", "glyphs"):
        (home / name).symlink_to(bed.warm_home / name)
    return home


def _copy(bed: Bed, rng: random.Random, folder: Path) -> tuple[str, Path]:
    """Return a task source's name, and a copy of a small data set for it."""
    layout = rng.choice(sorted(LAYOUTS))
    return LAYOUTS[layout][0], Path(shutil.copytree(data_set(bed, layout), folder / "data"))


def data_set(bed: Bed, layout: str) -> Path:
    """Return the folder of a small, sound data set, which is made once."""
    kept = bed.root / "data" / layout
    if not kept.exists():
        kept.mkdir(parents=True)
        LAYOUTS[layout][1](bed, kept)
    return kept


def _classes(bed: Bed, root: Path, n: int = 9, each: int = 6) -> None:
    rng = np.random.default_rng(0)
    for i in range(n):
        (root / f"class{i}").mkdir(parents=True)
        for j in range(each):
            image = Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8))
            kind = FORMATS[(i + j) % 4]
            image.save(root / f"class{i}" / f"{j}.{kind.lower()}", kind)


def _own_task(bed: Bed, root: Path) -> None:
    _classes(bed, root, n=2, each=3)


def _model(bed: Bed, root: Path) -> None:
    run = Path(shutil.copytree(bed.finished / "run", bed.root / "for-model"))
    done = bed.call(["export", str(run), "--out", str(root)], home=bed.warm_home, cwd=bed.root)
    assert done.code == 0, done.err
    Image.new("L", (28, 28), 77).save(root / "picture.png")
    for path in root.glob("*.onnx"):
        path.rename(root / "model.onnx")


def _cifar(bed: Bed, root: Path) -> None:
    from tests.plugins.tasks import test_cifar

    test_cifar.write_folder(root, test_cifar.drawn())


def _cifar_binary(bed: Bed, root: Path) -> None:
    from tests.plugins.tasks import test_cifar

    members = test_cifar.binary(test_cifar.drawn())
    test_cifar.write_tar(root, {f"cifar-100-binary/{n}": c for n, c in members.items()}, name="cifar-100-binary.tar.gz")


def _omniglot(bed: Bed, root: Path) -> None:
    from tests.plugins.tasks import test_omniglot

    test_omniglot.write_zips(root, lambda _, number: test_omniglot.drawing(number))


def _mini(layout: str) -> Callable[[Bed, Path], None]:
    def write(bed: Bed, root: Path) -> None:
        from tests.plugins.tasks import test_mini_imagenet as mini

        for split in mini.SPLITS:
            mini.WRITERS[layout](root, split, mini.draw(split))

    return write


LAYOUTS: dict[str, tuple[str, Callable[[Bed, Path], None]]] = {
    "folder": ("folder", _classes),
    "pictures": ("pictures", _own_task),
    "model": ("model", _model),
    "omniglot": ("omniglot", _omniglot),
    "cifar": ("fc100", _cifar),
    "cifar binary": ("cifar-fs", _cifar_binary),
    **{f"mini {layout}": ("mini-imagenet", _mini(layout)) for layout in ("folders", "tar", "pickle", "hdf5")},
}
"""Each layout of a data set: the name of its source, and what writes it."""


def _hostile(rng: random.Random, path: Path, ran: Path) -> tuple[str, bytes]:
    """Return a description and the content of a file that is made to hurt."""
    kinds: dict[str, Callable[[], bytes]] = {
        "a picture of 60,000 x 60,000": lambda: _png(60_000, 60_000),
        "a picture of 2^31 x 1": lambda: _png(2**31 - 1, 1),
        "a picture of no size": lambda: _png(0, 0),
        "a picture of one pixel": lambda: _saved(Image.new("L", (1, 1)), "PNG"),
        "a long picture": lambda: _saved(Image.new("RGB", (30_000, 1)), "PNG"),
        "a picture of another format": lambda: _saved(Image.new("RGB", (20, 20), (9, 99, 200)), rng.choice(FORMATS)),
        "a damaged picture": lambda: damaged(rng, _saved(Image.new("RGB", (20, 20)), rng.choice(FORMATS)))[1],
        "a pickle that runs code": lambda: CODE % bytes(ran),
        "a pickle of lists in lists": lambda: b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "a pickle of 2^31 bytes": lambda: b"\x80\x02T" + struct.pack("<I", 2**31 - 1) + b"x.",
        "a pickle with doubled memos": lambda: b"\x80\x02]q\x00" + b"(h\x00h\x00eq\x00" * 5000 + b".",
        "an archive of 5 GB of zeros": lambda: _tar_of_zeros(path.name),
        "an archive that leaves its folder": lambda: _tar("../../outside", b"x"),
        "an archive with a link": lambda: _tar("val/n1/x.jpg", b"", link="/etc/passwd"),
        "a zip of zeros": lambda: _zip_of_zeros(),
        "compressed noise": lambda: gzip.compress(rng.randbytes(1000)),
        "JSON, nested": lambda: b"[" * 100_000,
        "a word": lambda: word(rng).encode("utf-8", "surrogatepass"),
        "lines": lambda: b"filename,label\n" + b"x" * 10_000_000 + b"\n" * 100_000,
        "zeros": lambda: bytes(50_000_000),
    }
    what = rng.choice(sorted(kinds))
    return what, kinds[what]()


def _saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _png(width: int, height: int) -> bytes:
    """Return a PNG whose header promises more than there is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def _tar(name: str, content: bytes, link: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:xz") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.linkname = len(content), link
        member.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _tar_of_zeros(name: str, *, _made: dict[str, bytes] = {}) -> bytes:  # noqa: B006 (made once)
    """Return an archive, in the compression that the file's name promises, of one member of 5 GB."""
    kind = "gz" if name.endswith("gz") else "xz"
    if kind not in _made:
        member = tarfile.TarInfo(
            "cifar-100-binary/train.bin" if kind == "gz" else "train/n01532829/n0153282900000000.jpg"
        )
        member.size = 300_000_000 if kind == "gz" else 5_000_000_000
        header, block = member.tobuf(), bytes(10_000_000)
        packer = zlib.compressobj(1, wbits=31) if kind == "gz" else lzma.LZMACompressor(preset=0)
        parts = [packer.compress(header)]
        # Streams that are joined are one stream: a whole block is compressed once.
        parts.append(packer.flush())
        whole = gzip.compress(block, 1) if kind == "gz" else lzma.compress(block, preset=0)
        _made[kind] = b"".join([*parts, *[whole] * (member.size // len(block))])
    return _made[kind]


def _zip_of_zeros() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(20):
            archive.writestr(f"images_background/A/character{i:02d}/0001_01.png", bytes(10_000_000))
    return file.getvalue()
