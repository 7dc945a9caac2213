"""Bits flipped at random in every file of a finished run and of its home: named, harmless, or computed again equal."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from hnas.toolkit.files import sealed
from hnas_app.cli import run as command_line

RESULTS = ("profile.json", "adapt.json", "evaluate.json")


def begun_again(run: Path, *phases: str) -> None:
    """Make a run as if it had been killed before the end of these phases: their artefacts are made again."""
    record = json.loads((run / "run.json").read_text())
    del record["checksum"]
    for phase in phases:
        record["phases"][phase]["state"] = "stopped"
        (run / f"{phase}.json").unlink(missing_ok=True)
    (run / "run.json").write_text(json.dumps(sealed(record)))


def numbers(run: Path, again: str) -> dict[str, Any]:
    """The results; a search that goes on scores in other batches, so its losses differ in the ninth digit."""
    digits = 4 if "adapt" in AGAIN[again] else 17
    rounded = {n: json.loads((run / n).read_text(), parse_float=lambda x: f"{float(x):.{digits}g}") for n in RESULTS}
    return {name: {key: v for key, v in found.items() if key != "checksum"} for name, found in rounded.items()}


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


AGAIN = {
    "nothing": (),
    "the results": ("evaluate",),
    "the search": ("adapt", "evaluate"),
    "the profile": ("profile", "adapt", "retrain", "evaluate"),
}


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("flips", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_a_flipped_bit_never_gives_another_number(
    again: str, flips: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Whatever the file: the error names it, or the numbers are those of before."""
    expected = numbers(whole / "run", again)
    generator, wrong = random.Random(f"{again} {flips}"), []
    for nth in range(flips):
        base = tmp_path / str(nth)
        shutil.copytree(whole, base, symlinks=True)
        monkeypatch.setenv("HNAS_HOME", str(base / "home"))
        begun_again(base / "run", *AGAIN[again])
        files = sorted(p for p in base.rglob("*") if p.is_file() and p.stat().st_size and "engine" not in p.parts)
        path, bit = generator.choice(files), generator.getrandbits(40)
        flip(path, bit)
        capsys.readouterr()
        code = command_line(["evaluate", str(base / "run")])
        told = capsys.readouterr().err
        named = code == 3 and (path.name in told or path.stem in told)
        if "unexpected" in told or not (named if code else numbers(base / "run", again) == expected):
            wrong.append(f"{path.relative_to(base)}, bit {bit % (8 * path.stat().st_size)}: exit {code}, {told[-800:]}")
        shutil.rmtree(base)
    assert wrong == []
