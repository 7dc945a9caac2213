"""Signals at random moments of `hnas run`: nothing that was acknowledged is lost, and the end is the same."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from tests.campaign.bed import Bed, report_often, save_often
from tests.campaign.commands import Child, Outcome
from tests.campaign.essence import differences, essence, leftovers, rows
from tests.campaign.verdict import last

PHASES = ("profile", "meta-train", "adapt", "retrain", "evaluate")
SOFT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
SOON_S = 30.0
"""A soft signal ends a run "within seconds"; other campaigns may share the machine."""


@frozen
class Acknowledged:
    """What was on the disk when a process had died."""

    lines: bytes
    """The whole lines of ``search.jsonl``."""
    saved: dict[str, int]
    """The newest checkpoint of each training: its iteration."""
    done: frozenset[str]
    rows: dict[tuple[Any, ...], tuple[Any, ...]]
    told: int
    """Lines of ``metrics.jsonl``."""

    @classmethod
    def of(cls, run: Path, home: Path) -> Acknowledged:
        path = run / "search.jsonl"
        lines = path.read_bytes() if path.exists() else b""
        saved: dict[str, int] = {}
        for file in run.glob("checkpoints/*/state-*.json"):
            saved[file.parent.name] = max(saved.get(file.parent.name, 0), int(file.stem.partition("-")[2]))
        record = json.loads((run / "run.json").read_text())["phases"] if (run / "run.json").exists() else {}
        done = frozenset(name for name, phase in record.items() if phase.get("state") == "done")
        return cls(lines[: lines.rfind(b"\n") + 1], saved, done, rows(home), len(metrics(run)))

    def lost(self, run: Path, home: Path) -> Iterator[str]:
        """Yield what the process after it did not go on from."""
        now = rows(home)
        if gone := [key for key, row in self.rows.items() if now.get(key) != row]:
            yield f"{len(gone)} of {len(self.rows)} acknowledged rows of the cost store are gone or changed"
        if self.lines and not (run / "search.jsonl").read_bytes().startswith(self.lines):
            yield "acknowledged lines of search.jsonl are gone or changed"
        for event in metrics(run)[self.told :]:
            phase = event["phase"].partition(" ")[0]
            if event["kind"] == "start" and phase in self.done:
                yield f"{event['phase']} was done, and began again"
            folder = event["phase"].replace("retrain ", "retrain-") if " " in event["phase"] else phase
            folder = "retrain-found" if folder == "retrain" else folder
            if event["kind"] == "start" and event.get("done", 0) < self.saved.get(folder, 0):
                yield f"{event['phase']} began at {event.get('done', 0)}, its checkpoint was {self.saved[folder]}"
                return


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Interrupt a run one to three times, then let it end, and compare it with one that nobody touched."""
    shutil.copytree(bed.warm_home, folder / "home")
    run, home = folder / "run", folder / "home"
    workers = rng.choice((1, 1, 2))
    expected = essence((bed.finished if workers == 1 else bed.finished_by_two) / "run")
    words = bed.run_words(run, workers=workers)
    acknowledged = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        number = rng.choice((signal.SIGKILL, signal.SIGKILL, *SOFT))
        # A soft signal has to save by itself; a kill must not find only the first checkpoint.
        child = bed.start(words, home=home, cwd=folder, before=save_often if number == signal.SIGKILL else report_often)
        moment = f"{workers} workers, {signal.Signals(number).name} {wait_for_moment(rng, child, run)}"
        sent = time.monotonic()
        child.send(number)
        done = child.wait(60)
        if number != signal.SIGKILL:
            yield from (f"{moment}: {fault}" for fault in _soft_faults(done, run, number, time.monotonic() - sent))
        if left := child.left_over():
            yield f"{moment}: processes are left: {left}"
        acknowledged.append((moment, Acknowledged.of(run, home)))
    done = bed.call(words, home=home, cwd=folder)
    told = ", then ".join(moment for moment, _ in acknowledged)
    if done.code != 0:
        yield f"{told}: the run cannot go on: exit code {done.code}: {last(done.err)}"
        return
    for moment, before in acknowledged:
        yield from (f"{moment}: {fault}" for fault in before.lost(run, home))
    yield from (f"{told}: {fault}" for fault in differences(run, expected))
    if left_files := leftovers(folder):
        yield f"{told}: temporary files stay: {left_files}"


def wait_for_moment(rng: random.Random, child: Child, run: Path) -> str:
    """Wait for a random moment of a run, and describe it."""
    phase, delay = rng.choice(("start", *PHASES)), rng.random() ** 3 * 0.5
    count = rng.choice((1, 1, 2, 5, 12))
    while phase != "start" and child.poll() is None:
        if sum(event["phase"].startswith(phase) for event in metrics(run)) >= count:
            break
        time.sleep(0.005)
    time.sleep(delay)
    return f"{delay:.3f} s after event {count} of {phase}"


def _soft_faults(done: Outcome, run: Path, number: int, seconds: float) -> Iterator[str]:
    phases = json.loads((run / "run.json").read_text())["phases"] if (run / "run.json").exists() else {}
    over = phases.get("evaluate", {}).get("state") == "done"
    if done.ended_by:
        yield done.ended_by
        return
    if seconds > SOON_S:
        yield f"it ended {seconds:.1f} s later"
    if "Traceback" in done.err:
        yield f"a traceback: {last(done.err)}"
    had_begun = ": started" in done.err  # else the run is of an earlier kill, and this command had not opened it yet
    if done.code == 130 or (over and done.code == 0) or ((over or not phases or not done.err) and done.code == -number):
        pass  # a command that said nothing yet was ended while Python started
    else:
        yield f"exit code {done.code}, not 130: {last(done.err)}"
        return
    if phases and not over and had_begun and "to go on: " not in done.err:
        yield "it does not say how to go on"
    if phases.get("meta-train", {}).get("state") in ("running", "stopped"):
        steps = [e["done"] for e in metrics(run) if e["phase"] == "meta-train" and e["kind"] == "step"]
        saved = [int(p.stem.partition("-")[2]) for p in run.glob("checkpoints/meta-train/state-*.json")]
        if steps and max(steps) > max(saved, default=0):
            yield f"{max(steps)} iterations of meta-train were told, {max(saved, default=0)} are saved"


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return the events that a run has told."""
    path = run / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
