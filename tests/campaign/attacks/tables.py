"""JSON and TOML records with something exchanged in them: refused, or read as what they say, never with a traceback."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.campaign.bed import Bed
from tests.campaign.mutate import json_bytes
from tests.campaign.verdict import faults, last

RECORDS = (
    "run.json",
    "environment.json",
    "evaluate.json",
    "adapt.json",
    "profile.json",
    "search.jsonl",
    "scores.jsonl",
    "metrics.jsonl",
    "checkpoints/meta-train/*.json",
    "checkpoints/retrain-found/*.json",
)
READERS = ("runs", "evaluate", "adapt", "export", "retrain", "front", "run")


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Write a wrong record, and run a command that reads it."""
    yield from rng.choice((_of_a_run, _of_a_run, _devices, _table))(bed, rng, folder)


def _of_a_run(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    run = Path(shutil.copytree(bed.finished / "run", folder / "run"))
    path = rng.choice(sorted(run.glob(rng.choice(RECORDS))))
    command = rng.choice(READERS)
    lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
    at = rng.randrange(len(lines))
    lines[at] = json_bytes(rng, json.loads(lines[at]))
    path.write_bytes(b"\n".join([*lines, b""]))
    words = {"runs": ["runs", str(folder)], "run": bed.run_words(run)}.get(command, [command, str(run)])
    words = words + (["--json"] if rng.random() < 0.3 and command != "retrain" else [])
    if command == "evaluate" and rng.random() < 0.5:
        (run / "evaluate.json").unlink()
    done = bed.call(words, home=bed.finished / "home", cwd=folder)
    told = f"a wrong {path.relative_to(run)}, then {command}"
    yield from (f"{told}: {fault}" for fault in faults(done, seconds=120))


def _devices(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    home = folder / "home"
    home.mkdir()
    settings = {"address": "pi@10.255.255.1", "port": 22, "identity": "", "ssh_config": "/dev/null"}
    book = {"schema": 1, "devices": {"pi": {"backend": "arm", "settings": settings}}}
    (home / "devices.json").write_bytes(json_bytes(rng, book))
    words = rng.choice(
        (
            ["devices", "list"],
            ["devices", "list", "--json"],
            ["devices", "remove", "pi"],
            ["config", "show"],
            ["profile", "--backend", "eyeriss:pi", "--dry-run"],
        )
    )
    done = bed.call(words, home=home, cwd=folder)
    yield from (f"wrong devices.json, then {' '.join(words)}: {fault}" for fault in faults(done))


def _table(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """A table file is what people share: its numbers end up in everybody's costs."""
    content = json.loads(_exported(bed))
    # Few rows, so that a change is not lost among them.
    content["rows"] = {key: content["rows"][key] for key in sorted(content["rows"])[:: rng.choice((1, 40))]}
    (folder / "table.json").write_bytes(json_bytes(rng, content))
    shape = ["--space", "vgg9", "--set", "space.base_width=4", "--input", "1x28x28"]
    words = rng.choice(
        (["profile", "import", "table.json"], ["profile", *shape, "--backend", "table:table.json", "--json"])
    )
    done = bed.call(words, home=folder / "home", cwd=folder)
    told = f"a wrong table, then {' '.join(words[:2])}"
    yield from (f"{told}: {fault}" for fault in faults(done))
    if done.code not in (0, 3, 4, 6):
        yield f"{told}: exit code {done.code}: {last(done.err)}"


@cache
def _exported(bed: Bed) -> str:
    path = bed.root / "table.json"
    done = bed.call(["profile", "export", str(path), "--backend", bed.board], home=bed.finished / "home", cwd=bed.root)
    assert done.code == 0, done.err
    return path.read_text()
