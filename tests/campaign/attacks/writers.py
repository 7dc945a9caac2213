"""Several processes that start on the same thing: exactly one works, the others say so, and nobody's rows are lost."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.campaign.attacks.data_files import LAYOUTS, data_set
from tests.campaign.bed import Bed
from tests.campaign.commands import Child
from tests.campaign.essence import differences, essence, leftovers, rows
from tests.campaign.verdict import faults, last


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Start two to four processes within milliseconds on a run directory, a cost store or an empty home."""
    yield from rng.choice((new_run, new_run, old_run, cost_store, empty_home, arrays))(bed, rng, folder)


def new_run(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """The winner's settings are those on record, whoever came second."""
    home = Path(shutil.copytree(bed.warm_home, folder / "home"))
    run = folder / "run"
    children = {}
    for seed in range(rng.randint(2, 4)):
        children[seed] = bed.start(bed.run_words(run, seed=seed), home=home, cwd=folder)
        time.sleep(rng.random() ** 3 * 0.3)
    yield from _only_one_works(children, run, rng, bed)


def old_run(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Commands of several kinds on a run that is half done; whoever works, the end is the same."""
    bed.half_done(rng.choice(("meta-train", "adapt", "retrain")), folder)
    run = folder / "run"
    kinds = (bed.run_words(run), ["evaluate", str(run)], ["retrain", str(run)], ["adapt", str(run)])
    children: dict[int, Child] = {}
    for number in range(rng.randint(2, 3)):
        children[number] = bed.start(rng.choice(kinds), home=folder / "home", cwd=folder)
        time.sleep(rng.random() ** 3 * 0.3)
    ended = {n: child.wait() for n, child in children.items()}
    for done in ended.values():
        if done.code != 0:
            yield from _is_refused(done.code, done.err)
        yield from faults(done, seconds=120)
    if all(done.code for done in ended.values()):
        yield "nobody worked"
    done = bed.call(["evaluate", str(run)], home=folder / "home", cwd=folder)
    if done.code != 0:
        yield f"evaluate after them: exit code {done.code}: {last(done.err)}"
    yield from differences(run, essence(bed.finished / "run"))


def cost_store(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Devices, or one device, measured at the same time into one store: it holds every row."""
    home, settings = folder / "home", [rng.choice((1.0, 1.0, 2.0, 3.0)) for _ in range(rng.randint(2, 4))]
    words = ["profile", "--space", "vgg9", "--set", "space.base_width=4", "--input", "1x28x28", "--backend", bed.board]
    children = []
    for ns in settings:
        extra = ["--set", f"backend.ns={ns}", "--set", "backend.wait_ms=0.2", "--json"]
        children.append(bed.start([*words, *extra], home=home, cwd=folder))
        time.sleep(rng.random() ** 3 * 0.2)
    killed = rng.randrange(len(children)) if rng.random() < 0.4 else None
    if killed is not None:
        time.sleep(rng.random() * 0.3)
        children[killed].send(signal.SIGKILL)
    ended = [child.wait() for child in children]
    for i, done in enumerate(ended):
        if i != killed:
            yield from faults(done, seconds=120)
            if done.code != 0:
                yield f"profile {i} of {len(ended)}: exit code {done.code}: {last(done.err)}"
    layers: dict[str, int] = {}
    for _, fingerprint, _, _, _ in rows(home):
        layers[fingerprint] = layers.get(fingerprint, 0) + 1
    whole = {ns for i, ns in enumerate(settings) if i != killed}
    full = max(layers.values(), default=0)
    if sum(n == full for n in layers.values()) < len(whole):
        yield f"rows by device: {sorted(layers.values())}; expected {len(whole)} devices with all of theirs"
    again = bed.call(["profile", "--dry-run", "--json", *words[1:]], home=home, cwd=folder)
    yield from faults(again)


def empty_home(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Runs that make the caches of one home at the same time; some die meanwhile."""
    home = folder / "home"
    shutil.copytree(bed.warm_home / "engine", home / "engine")  # its compilation takes minutes of an hour
    children = [
        bed.start([*bed.run_words(folder / f"run{i}"), "--set", "meta_train.epochs=1"], home=home, cwd=folder)
        for i in range(rng.randint(2, 3))
    ]
    killed = rng.random() < 0.5
    if killed:
        time.sleep(rng.random() * 0.6)
        children[0].send(signal.SIGKILL)
    for child in children[killed:]:
        done = child.wait()
        yield from faults(done, seconds=120)
        if done.code != 0:
            yield f"exit code {done.code}: {last(done.err)}"
    made = {folder / f"run{i}" / "evaluate.json" for i in range(killed, len(children))}
    if len({path.read_bytes() for path in made if path.exists()}) != 1:
        yield "runs with the same settings, started at the same time, have other results"


def arrays(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Readers of one data set, who all want to keep it decoded; some die meanwhile."""
    layout = rng.choice(("cifar binary", "mini folders"))
    root, home = data_set(bed, layout), folder / "home"
    words = ["data", "check", LAYOUTS[layout][0], "--data-root", str(root), "--json"]
    children = [bed.start(words, home=home, cwd=folder) for _ in range(rng.randint(2, 4))]
    killed = rng.random() < 0.5
    if killed:
        time.sleep(rng.random() * 0.5)
        children[0].send(signal.SIGKILL)
    told = set()
    for done in [child.wait() for child in children][killed:]:
        yield from faults(done, seconds=120)
        told.add((done.code, done.out))
    done = bed.call(words, home=home, cwd=folder)
    if told | {(done.code, done.out)} != {(0, done.out)}:
        yield f"readers of {layout} at the same time: {sorted(told)}, afterwards {done.code}: {last(done.err)}"
    if left := leftovers(home):
        yield f"readers of {layout}: temporary files stay: {left}"


def _only_one_works(children: dict[int, Child], run: Path, rng: random.Random, bed: Bed) -> Iterator[str]:
    """The others end at once; the winner is stopped after a look at its files, or ends as it would alone."""
    end = time.monotonic() + 60
    while sum(c.poll() is None for c in children.values()) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    working = [seed for seed, child in children.items() if (done := child.poll()) is None or done.code == 0]
    for seed, child in children.items():
        if seed not in working:
            done = child.wait()
            yield from _is_refused(done.code, done.err)
            yield from faults(done)
    if len(working) != 1:
        yield f"{len(working)} of {len(children)} work in one run directory"
        for seed in working:
            children[seed].kill()
            children[seed].wait()
        return
    (winner,) = working
    yield from _is_on_record(run, winner)
    if winner == 0 and rng.random() < 0.5:
        done = children[0].wait()
        if done.code != 0:
            yield f"the winner ended with exit code {done.code}: {last(done.err)}"
        yield from differences(run, essence(bed.finished / "run"))
    else:
        children[winner].kill()
        children[winner].wait()


def _is_on_record(run: Path, seed: int) -> Iterator[str]:
    deadline = time.monotonic() + 30
    while not (run / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)  # the winner has the lock, and writes only now
    told = re.search(r"^seed = (\d+)", (run / "config.toml").read_text(), re.MULTILINE)
    if told is None or int(told[1]) != seed:
        yield f"the process with seed {seed} works, config.toml says {told and told[0]}"
    if (on_record := json.loads((run / "run.json").read_text())["seed"]) != seed:
        yield f"the process with seed {seed} works, run.json says {on_record}"


def _is_refused(code: int, err: str) -> Iterator[str]:
    if code != 3 or not re.search("in use|in the run, .* now", err):
        yield f"a process that came too late ended with {code}: {last(err)}"
