"""Train networks of one's own choice as a run would train what it found, to see what its super-net cannot tell.

    python experiments/wins/structures.py RUN 'glyphs 0' '5/0.25/relu 5/0.5/relu 5/0.5/relu 5/0.5/relu' ...
    python experiments/wins/structures.py --table

RUN is a run of the space `vgg9` whose meta-training is done; it is copied, and not changed. A network is one word for
each layer: kernel/scale/activation. Each gives a row of ``structures.json``, and is not trained again: ``zero_loss``
with the super-net's weights on 200 validation tasks, ``heats`` (validation accuracy by iterations) and ``test``
(accuracy over 600 test tasks) of its re-training. Some rows lack the first two: they were made without. ``again`` is
the accuracy of a second re-training, on other tasks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

import hnas
import hnas_app.training.retrain as training
from hnas import Architecture, SearchSpace
from hnas_app.executors.in_process import InProcess
from hnas_app.runs.pipeline import Pipeline
from hnas_app.training.outer_loop import score_tasks
from hnas_app.training.race import PURPOSE

RESULTS = Path(__file__).with_name("structures.json")
HEATS = (75, 150, 300, None)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train networks of one's own choice as a run would.")
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("name", nargs="?", help="of the super-net, in the rows")
    parser.add_argument("networks", nargs="*", help="such as '5/0.5/relu 3/1.0/elu'")
    parser.add_argument("--again", action="store_true", help="train those that are there once more, on other tasks")
    parser.add_argument("--table", action="store_true", help="only print the rows as a table")
    options = parser.parse_args(arguments)
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    for network in options.networks:
        key = {"super-net": options.name, "network": network}
        known = next((row for row in rows if key.items() <= row.items()), None)
        if known is None:
            rows.append({**key, **measured(options.run, network)})
        elif options.again and "again" not in known:
            with patch.object(training, "STREAM", "retrain again"):
                known["again"] = measured(options.run, network)["test"]
        write(rows)
    if options.table:
        print("\n".join(table(rows)))


def write(rows: Sequence[dict[str, Any]]) -> None:
    RESULTS.write_text("[\n" + ",\n".join(" " + json.dumps(row) for row in rows) + "\n]\n")


def measured(run: Path, network: str) -> dict[str, Any]:
    """Return the row of a network."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(run, Path(folder) / "run")
        with hnas.load_run(copy).session() as phases, InProcess() as here:
            return _measured(phases, architecture(phases.setup.space, network), here, Path(folder))


def _measured(phases: Pipeline, arch: Architecture, here: InProcess, folder: Path) -> dict[str, Any]:
    setup, state, config = phases.setup, phases.meta_train(), phases.config
    n_tasks, n_query = config.retrain.race_tasks, config.search.n_query
    setup.send(here)
    losses, _ = score_tasks(here, state, arch, "validation", PURPOSE, n_tasks, n_query)
    row: dict[str, Any] = {"zero_loss": round(sum(losses) / n_tasks, 4), "heats": {}}
    for until in HEATS:
        alone, own = training.retrain(
            setup,
            state,
            arch,
            config.retrain,
            here,
            phase="retrain",
            folder=folder / "alone",
            emit=lambda event: None,
            until=until,
        )
        alone.send(here)
        _, found = score_tasks(here, own, arch, "validation", PURPOSE, n_tasks, n_query)
        row["heats"][str(until or "end")] = round(100 * sum(found) / n_tasks, 2)
    _, found = score_tasks(here, own, arch, "test", "test-tasks", config.evaluate.tasks, config.evaluate.n_query)
    return row | {"test": round(100 * sum(found) / len(found), 2)}


def architecture(space: SearchSpace, network: str) -> Architecture:
    """Return the network of a text."""
    options: dict[str, Any] = {"depth": len(network.split())}
    for i, layer in enumerate(network.split(), 1):
        kernel, scale, activation = layer.split("/")
        options |= {f"kernel{i}": int(kernel), f"scale{i}": float(scale), f"activation{i}": activation}
    return space.architecture(**options)


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows as Markdown, the best first in each super-net."""
    yield "| super-net | kernel/scale/activation by layer | loss with its weights | re-trained, % |"
    yield "|---|---|---|---|"
    ordered = sorted(rows, key=lambda row: (row["super-net"], -row["test"]))
    for name, some in groupby(ordered, key=lambda row: row["super-net"]):
        for row in some:
            yield f"| {name} | {row['network']} | {row.get('zero_loss', '–')} | {row['test']:.1f} |"


if __name__ == "__main__":
    main()
