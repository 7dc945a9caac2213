"""One damaged file of a run or of its home: the same numbers as before, or an error that names the file."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.campaign.bed import Bed
from tests.campaign.commands import Outcome
from tests.campaign.essence import timeless
from tests.campaign.mutate import damaged
from tests.campaign.verdict import faults, last, read_json

STATES = ("finished", "finished", "meta-train", "adapt", "retrain")
"""The run that is damaged: a finished one, or one that was killed in a phase."""


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Damage a file, run a command that reads it, and compare what it printed with the undamaged run's."""
    state = rng.choice(STATES)
    if state == "finished":
        shutil.copytree(bed.finished, folder, dirs_exist_ok=True)
    else:
        bed.half_done(state, folder)
    what, names = _damage(rng, folder)
    command = rng.choice(("run", "evaluate", "runs", "export") if state == "finished" else ("run", "evaluate", "runs"))
    done = bed.call(_words(bed, command, folder / "run"), home=folder / "home", cwd=folder)
    told = f"{state}, {what}, then {command}"
    wrong = [*faults(done, seconds=120)]
    yield from (f"{told}: {fault}" for fault in wrong)
    if wrong:
        return
    if done.code == 0:
        yield from (f"{told}: {fault}" for fault in _other_numbers(bed, command, folder, done))
    elif not any(name in done.err for name in names):
        yield f"{told}: the error does not name the file: {last(done.err)}"


def _damage(rng: random.Random, folder: Path) -> tuple[str, set[str]]:
    """Damage one file; return what was done, and the names by which an error may call the file."""
    files = sorted(
        p for p in folder.rglob("*") if p.is_file() and p.name != ".lock" and p.parent != folder
    )  # nor a command's output
    # By kind first: there are more checkpoints than anything else.
    kinds = sorted({_kind(p) for p in files})
    kind = rng.choice(kinds)
    path = rng.choice([p for p in files if _kind(p) == kind])
    alike = [p for p in files if p.suffix == path.suffix and p != path]
    if rng.random() < 0.15:
        path.unlink()
        what = "deleted"
    else:
        other = rng.choice(alike).read_bytes() if alike else b""
        what, content = damaged(rng, path.read_bytes(), other)
        path.unlink()  # never through a hard link
        path.write_bytes(content)
    return f"{path.relative_to(folder)} {what}", {path.name, path.stem, path.parent.name} - {"run", "home"}


def _kind(path: Path) -> str:
    return path.parent.name + path.suffix if path.suffix in (".safetensors", ".so", ".npy") else path.name


def _words(bed: Bed, command: str, run: Path) -> list[str]:
    if command == "run":
        return [*bed.run_words(run), "--json"]
    return [command, str(run.parent if command == "runs" else run), "--json"]


def _other_numbers(bed: Bed, command: str, folder: Path, done: Outcome) -> Iterator[str]:
    """Yield how a command's result differs from that of the undamaged run."""
    found = read_json(done)
    if command in ("run", "evaluate"):
        if found != (expected := _results(bed)):
            yield f"exit 0 with other results: {_first_difference(expected, found)}"
    elif command == "runs":
        rows = found if isinstance(found, list) else [None]
        for row in rows:
            accuracy = row.get("accuracy") if isinstance(row, dict) else "no row"
            expected = _results(bed)["networks"][0]["retrained"]["mean"]
            if accuracy not in (None, expected):
                yield f"exit 0 with accuracy {accuracy}, expected {expected}"
    else:
        written = (folder / "run" / "export" / "architecture.json").read_bytes()
        if timeless(json.loads(written)) != (expected := _exported(bed)):
            yield f"exit 0 with another network: {_first_difference(expected, timeless(json.loads(written)))}"


@cache
def _results(bed: Bed) -> dict:  # type: ignore[type-arg]
    done = bed.call(["evaluate", str(bed.finished / "run"), "--json"], home=bed.finished / "home", cwd=bed.root)
    return json.loads(done.out)  # type: ignore[no-any-return]


@cache
def _exported(bed: Bed) -> object:
    run = Path(shutil.copytree(bed.finished / "run", bed.root / "exported"))
    done = bed.call(["export", str(run)], home=bed.finished / "home", cwd=bed.root)
    assert done.code == 0, done.err
    return timeless(json.loads((run / "export" / "architecture.json").read_text()))


def _first_difference(one: object, two: object, where: str = "") -> str:
    if isinstance(one, dict) and isinstance(two, dict):
        for key in one | two:
            if one.get(key) != two.get(key):
                return _first_difference(one.get(key), two.get(key), f"{where}.{key}")
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            if a != b:
                return _first_difference(a, b, f"{where}[{i}]")
    return f"{where or 'all'} is {two!r}, not {one!r}"[:300]
