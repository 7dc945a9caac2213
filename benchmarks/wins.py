"""Measure whether the network that is found beats the reference network scaled to the same limit.

    python benchmarks/wins.py glyphs                        # hours for five seeds; goes on where it stopped
    python benchmarks/wins.py omniglot --data-root ~/data/omniglot
    python benchmarks/wins.py folder --data-root ~/data/pictures    # of small_pictures.py
    python benchmarks/wins.py --table                       # what is there, as a table

For each seed it meta-trains one super-net. For each limit it searches and re-trains in three ways: ``raced``, as the
preset says; ``algorithm1``, the paper's (random start, the last population, no race); and ``random`` search with as
many candidates. Found, scaled and reference networks are trained with one budget and tested on the same tasks. Every
way is a unit of minutes, and kept as JSON when it is done.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

import attrs

import hnas
from hnas.toolkit.files import write_json
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.terminal import at_terminal
from hnas_app.training.accuracy import t_95
from hnas_app.usecases.arguments import Given
from hnas_app.usecases.phases import meta_train

RESULTS = Path(__file__).parents[1] / "experiments" / "wins"
LIMITS = ("latency<=0.3ref", "latency<=0.6ref", "latency<=1ref", "params<=0.6ref")
WITH_REFERENCE = "latency<=0.6ref"
"""The limit whose run trains the reference network, too: it is the same for all."""
_PAPER = {"search.candidates": "last", "search.start": "random", "retrain.finalists": 1, "retrain.reference": "none"}
WAYS: dict[str, dict[str, Any]] = {
    "raced": {"settings": {"retrain.reference": "scaled"}},
    "algorithm1": {"settings": _PAPER},
    "random": {"settings": _PAPER, "strategy": "random"},
}


def measure(given: Given, limits: Sequence[str], ways: Sequence[str], work: Path, kept: Path) -> None:
    """Measure some ways with one seed, and write each result when it is there."""
    results = json.loads(kept.read_text()) if kept.is_file() else {}
    folder, begun = work / kept.stem, time.perf_counter()
    with at_terminal(Invocation()) as caller:
        meta_train(caller, given, run_dir=folder)
    results.setdefault("supernet_s", round(time.perf_counter() - begun, 1))
    write_json(kept, results)
    for limit in limits:
        for way in ways:
            changes = WAYS[way]
            if way in results.setdefault(limit, {}):
                continue
            with_reference = way == "raced" and limit == WITH_REFERENCE
            more = {"retrain.reference": "scaled,auto"} if with_reference else {}
            begun_run = work / f"{kept.stem}-{quote(limit, safe='')}-{way}.txt"
            results[limit][way] = _networks(folder, limit, changes, more, begun_run)
            write_json(kept, results)
            print(f"{kept.stem}, {limit}, {way}: {_line(results[limit][way])}", flush=True)


def _networks(
    folder: Path, limit: str, changes: Mapping[str, Any], more: Mapping[str, Any], begun: Path
) -> dict[str, Any]:
    """Search, re-train and test under one limit; ``begun`` keeps the path of a run that was interrupted."""
    settings = {**changes["settings"], **more}
    if begun.is_file():
        run = hnas.load_run(begun.read_text())
    else:
        run = hnas.load_run(folder).branch(constraints=limit, settings=settings, strategy=changes.get("strategy"))
        begun.write_text(str(run.path))
    seconds = {}
    with run.session() as phases:
        for phase in (phases.adapt, phases.retrain, phases.evaluate):
            started = time.perf_counter()
            phase()
            seconds[phase.__name__] = round(time.perf_counter() - started, 1)
    rows = {
        n.name: {"accuracy": n.retrained.mean, "params": n.cost["params"], "options": dict(n.options)}
        for n in run.results.networks
    }
    race = run.results.race
    won = race.winner[0] if race else "found"
    return {"networks": rows, "won": won, "missing": list(run.results.missing), "seconds": seconds}


def _line(result: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} {100 * row['accuracy']:.2f}" for name, row in result["networks"].items())
    return f"{told} %, {result['won']} won, {sum(result['seconds'].values()):.0f} s"


def table(results: Path) -> None:
    """Print, for each data set, limit and way, found minus scaled and found minus reference over the seeds."""
    for data in sorted({path.name.rsplit("-", 1)[0] for path in results.glob("*-*.json")}):
        seeds = [json.loads(p.read_text()) for p in sorted(results.glob(f"{data}-*.json"))]
        print(f"\n{data}\n| limit | way | seeds | found - scaled | found - reference | seconds |")
        print("|---|---|---|---|---|---|")
        for limit in LIMITS:
            for way in WAYS:
                _print_row(limit, way, [seed for seed in seeds if way in seed.get(limit, {})])
        below = [limit for limit in LIMITS if limit != "latency<=1ref"]
        means = [_mean_over(s, below) for s in seeds if all("raced" in s.get(limit, {}) for limit in below)]
        print(f"raced, found - scaled, mean over limits below 1: {_interval(means)}")


def _mean_over(seed: Mapping[str, Any], limits: Sequence[str]) -> float:
    differences = (_over(seed, limit, "raced", "scaled") for limit in limits)
    return statistics.mean(d for d in differences if d is not None)


def _print_row(limit: str, way: str, seeds: Sequence[Mapping[str, Any]]) -> None:
    if not seeds:
        return
    scaled, reference = (
        _interval([d for s in seeds if (d := _over(s, limit, way, other)) is not None])
        for other in ("scaled", "reference")
    )
    seconds = statistics.median(sum(s[limit][way]["seconds"].values()) for s in seeds)
    print(f"| {limit} | {way} | {len(seeds)} | {scaled} | {reference} | {seconds:.0f} |")


def _over(seed: Mapping[str, Any], limit: str, way: str, other: str) -> float | None:
    """Return by how many points the network that was found is better, at this limit."""
    found = seed[limit][way]["networks"]["found"]["accuracy"]
    if other == "scaled":
        row = seed[limit].get("raced", {}).get("networks", {}).get("scaled")
    else:
        rows = seed.get(WITH_REFERENCE, {}).get("raced", {}).get("networks", {})
        row = next((row for name, row in rows.items() if name not in ("found", "scaled")), None)
    return None if row is None else 100 * (found - row["accuracy"])


def _interval(points: Sequence[float]) -> str:
    """Return the mean with its 95 % t-interval over seeds, and the standard deviation."""
    if not points:
        return "-"
    if len(points) == 1:
        return f"{points[0]:+.2f}"
    sd = statistics.stdev(points)
    half = t_95(len(points)) * sd / math.sqrt(len(points))
    return f"{statistics.mean(points):+.2f} ± {half:.2f} (sd {sd:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="name of a task source")
    parser.add_argument("--data-root", help="its data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--limits", nargs="+", default=list(LIMITS))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--backend", default="eyeriss")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all runs")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "hnas-wins", help="folder for the runs"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print what is there")
    options = parser.parse_args()
    if options.data:
        given = Given(
            space="vgg9",
            backend=options.backend,
            tasks=options.data,
            data_root=options.data_root,
            preset=options.preset,
            sets=tuple(tuple(one.split("=", 1)) for one in options.set),
        )
        options.results.mkdir(parents=True, exist_ok=True)
        options.work.mkdir(parents=True, exist_ok=True)
        for seed in options.seeds:
            kept = options.results / f"{options.data}-{seed}.json"
            measure(attrs.evolve(given, seed=seed), options.limits, options.ways, options.work, kept)
    if options.table or options.data:
        table(options.results)


if __name__ == "__main__":
    main()
