"""Names and paths: of plugins, runs, files and folders, of kinds that no command can use."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.campaign.attacks.settings import as_argv, as_variable
from tests.campaign.bed import Bed
from tests.campaign.mutate import word
from tests.campaign.verdict import faults

COMMANDS = """
plugins show X
plugins check X
spaces show X
spaces show vgg9 --arch X
spaces show vgg9 --input X
evaluate X
retrain X
adapt X
runs X
export X
front X
front X X
predict X X
config check X
config show --config X
config show --preset X
config init X
data check X
data check folder --data-root X
data check omniglot --data-root X
data check fc100 --data-root X
data check mini-imagenet --data-root X
profile --backend X --dry-run
profile --backend table:X --input 1x28x28
profile import X
profile export X
devices check X
devices remove X
devices list
run --run-dir X
run --backend X
run --tasks X
run --space X
run --config X
adapt RUN --pictures X
evaluate RUN --data-root X
export RUN --out X
X
run X
--X
config X
RUN X
adapt RUN --constraint X
adapt RUN --backend X
adapt RUN --strategy X
adapt RUN --export X.onnx
evaluate RUN --tasks folder --data-root X
front RUN --out X.png
front RUN RUN --out X
plugins check X.py:Board
plugins new backend X
plugins new backend thing --out X
spaces show X.py:Space
profile --backend X.py:Board --dry-run
profile export X --backend eyeriss
data check pictures --data-root X
data check cifar-fs --data-root X
config show --tasks folder --data-root X
HOME=X devices list
HOME=X profile --backend eyeriss --space vgg9 --input 1x28x28 --dry-run
HOME=X profile --backend eyeriss --space vgg9 --input 1x28x28
HOME=X data check glyphs
HOME=X evaluate RUN --json
DATA=X data check omniglot
DATA=X data list
""".strip().splitlines()
"""Commands, with X for the word."""


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Give a command a name or a path that makes no sense there."""
    what, thing = _word(rng, folder)
    run = str(bed.finished / "run")
    template = rng.choice(COMMANDS).split()
    env = {f"HNAS_{template[0][:-2]}": as_variable(thing) or "."} if template[0].endswith("=X") else {}
    words = [thing if w == "X" else w.replace("RUN", run) if "RUN" in w else w.replace("X", thing) for w in template]
    words = words[len(env) :]
    if words[0] == "run":
        words += ["--set", "meta_train.epochs=1", "--set", "meta_train.iterations=1", "--set", "space.base_width=4"]
        words += ["--preset", "none"] if rng.random() < 0.5 and "--preset" not in words else []
    home = Path(env.pop("HNAS_HOME", bed.warm_home))
    child = bed.start(as_argv(words), home=home, cwd=folder, env=env)
    done = child.wait(60)
    if done.ended_by.startswith("no end") and "started" in done.err and done.peak_mb < 2000:
        return  # it was a good word: a whole run began
    yield from (f"{' '.join(template)} with {what}: {fault}" for fault in faults(done))
    if left := child.left_over():
        yield f"{' '.join(template)} with {what}: processes are left: {left}"


def _word(rng: random.Random, folder: Path) -> tuple[str, str]:
    """Return a description, and a word or the path of something special."""
    kind = rng.choice(("word", "word", "reference", *PLACES))
    if kind == "word":
        text = word(rng)
        return ascii(text[:60]), text
    if kind == "reference":
        text = f"{word(rng)[:200]}:{word(rng)[:200]}"
        return ascii(text[:80]), text
    return kind, _place(kind, folder)


PLACES = (
    "/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem", "/proc/self/environ", "a folder", "an empty file",
    "a dangling link", "a link to itself", "a socket", "a deep path", "an escape in its name", "bytes that are no text",
    "a file as a folder", "a binary file", "a folder of folders", "a long name", "an option's name",
    "/dev/random", "/dev/null/x", "/proc/self", "/dev/stdin", "a sparse file", "an unknown user's home", "a table",
    "a link to a device", "a folder named as a picture", "a file that ends as code does", "a link in a circle",
)  # fmt: skip


def _place(kind: str, folder: Path) -> str:
    """Make something special, and return its path."""
    path = folder / "thing"
    if kind.startswith("/"):
        return kind
    if kind == "a folder":
        path.mkdir()
    elif kind == "an empty file":
        path.touch()
    elif kind == "a dangling link":
        path.symlink_to(folder / "nowhere")
    elif kind == "a link to itself":
        path.symlink_to(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as made:
            os.chdir(folder)
            made.bind("thing")
            os.chdir("/")
    elif kind == "a deep path":
        path = folder.joinpath(*["d" * 50] * 100)
    elif kind == "an escape in its name":
        path = folder / "\x1b[31mred\x07\x9b1m\nname"
        path.mkdir()
        (path / "run.json").write_text("{}")
    elif kind == "bytes that are no text":
        path = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe"))
        path.mkdir()
    elif kind == "a file as a folder":
        path.touch()
        path = path / "run"
    elif kind == "a binary file":
        path.write_bytes(random.Random(kind).randbytes(5000))
    elif kind == "a folder of folders":
        for name in ("a", "b", "\x1b[2J", "d" * 250):
            (path / name).mkdir(parents=True)
            (path / name / "run.json").write_text('{"schema": 1, "phases": {"\x1b[31m": {"state": "\\u001b[31m"}}}')
    elif kind == "a sparse file":
        with path.open("wb") as file:
            file.truncate(10 << 30)
    elif kind == "an unknown user's home":
        path = Path("~no-such-user/x")
    elif kind == "a table":
        path = folder / "thing.json"
        path.write_text('{"format": "hnas measurements", "schema": 1, "info": {}, "rows": {}, "calibration": {}}')
    elif kind == "a link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "a folder named as a picture":
        path = folder / "thing.png"
        (path / "inner.png").mkdir(parents=True)
    elif kind == "a file that ends as code does":
        path = folder / "thing.py"
        path.write_text("import sys\nsys.setrecursionlimit(50)\n" + "(" * 300)
    elif kind == "a link in a circle":
        path.mkdir()
        (path / "again").symlink_to(path)
        (path / "run.json").symlink_to("/dev/zero")
    elif kind == "a long name":
        path = folder / ("n" * 400)
    else:
        path = Path("--no-such-option")
    return str(path)
