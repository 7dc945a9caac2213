"""Table 3 of the paper: the layer-wise table against Once-for-All's latency predictor, on one device in one sitting.

    python experiments/table3/table3.py --backend x86 --set backend.runtime=c --space vgg9 --input 1x28x28 \\
        --train 2000 --test 100 --minutes 60 --out experiments/table3/x86.json

Layers, test networks and training networks are measured in one shuffled order. Each is kept in FILE.jsonl at once: the
same command goes on where it stopped. FILE.json gets both methods' errors on the test networks, their times, and the
predictor's error against time, which FILE.png draws. Any backend that measures whole networks will do, also
``arm:NAME``, ``cuda:0`` or ``./examples/custom_backend.py:MyBoard``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from curve import curve_sizes, draw, reached
from predictor import Training, fit, load
from sitting import Log, Networks, Timed, measure

from hnas import Architecture, HnasError, Registry, SearchSpace, Seeds
from hnas.cost import CostTable
from hnas.layer import Shape
from hnas.toolkit.codec import to_json
from hnas.toolkit.files import write_text
from hnas.toolkit.table_file import combine
from hnas_app.config.load import load_config
from hnas_app.costs.agreement import agreement
from hnas_app.costs.measuring import typical_spread
from hnas_app.costs.profile import ProfilePlan, plan
from hnas_app.runs.environment import environment
from hnas_app.trackers.json_lines import JsonLines

PAPER = {
    "source": "Table 3 of the paper: 16K training, 10K validation and 10K test networks; not measured here",
    "RTX 2080 Ti": {"mse": [0.0188, 0.00690], "time_s": [965.4, 6.216]},
    "Intel i9": {"mse": [0.165, 0.0119], "time_s": [1315.2, 16.41]},
    "Pi Zero": {"mse": [None, 0.00742], "time_s": [792000.0, 4944.6]},
}
"""Each pair: the predictor's, the layer-wise table's."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        result = experiment(options)
    except HnasError as error:
        print(f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    for name in ("layer_wise", "predictor"):
        told = result[name]
        print(
            f"{name:>10}: MSE {told['nmse']:.5f}  MAPE {told['mape']:.2f} %  tau {told['tau']:.3f}  "
            f"{told['time_s']:.1f} s"
        )
    measured = result["predictor"]["networks_measured"]
    print(f"{measured} training networks; {options.out}, {options.out.with_suffix('.png')}")
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description="Compare the layer-wise table with a latency predictor (Table 3).")
    found.add_argument("--backend", required=True, help="as in hnas profile: NAME, NAME:DEVICE or ./file.py:Class")
    found.add_argument("--space", default="vgg9")
    found.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", type=_pair)
    found.add_argument("--input", type=_shape, default=(1, 28, 28), metavar="CxHxW")
    found.add_argument("--n-way", type=int, default=5)
    found.add_argument("--train", type=_several, default=2000, metavar="N", help="training networks at most, 5 or more")
    found.add_argument("--test", type=_several, default=100, metavar="M", help="test networks, 5 or more")
    found.add_argument("--minutes", type=float, default=60.0, help="for measuring training networks")
    found.add_argument("--steps", type=int, default=Training().steps, help="of training the predictor, at least")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument(
        "--note", default="", help="what a reader must know of the device: for the results and the title"
    )
    found.add_argument("--out", type=Path, required=True, help="results, FILE.json; FILE.jsonl and FILE.png lie beside")
    return found


def experiment(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, fit, compare; write and return the results. Raises `HnasError`."""
    registry, seeds = Registry(), Seeds(options.seed)
    name, sets = _split_device(registry, options.backend, options.sets)
    config = load_config(registry, preset="none", sets=sets, flags={"space": options.space, "backend": name}).config
    space = registry.create("space", config.space.name, config.space.options)
    networks = Networks.drawn(space, options.input, options.n_way, options.test, options.train, seeds)
    backend = Timed(registry.create("backend", config.backend.name, config.backend.options))
    try:
        todo = plan(backend.backend, space, options.input, options.n_way, store=None)
        log = Log.opened(JsonLines(options.out.with_suffix(".jsonl")), _identity(options, config, todo))
        sitting = measure(backend, todo, networks, log, train_s=60 * options.minutes, seeds=seeds)
    finally:
        backend.close()
    compared = compare(space, todo, networks, log, options.input, seeds, Training(steps=options.steps))
    result = {
        "experiment": "table3",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "asked": _identity(options, config, todo) | {"train": options.train, "minutes": options.minutes},
        "device": to_json(todo.info),
        "conditions": dict(todo.info.conditions),
        "environment": environment(),
        "note": options.note,
        "sittings": log.sittings,
        "blocks_repeated": sitting.repeated,
        "blocks_unsteady": sitting.unsteady,
        "mse_is_of": "latency over the mean measured latency of the test networks",
        **compared,
        "paper": PAPER,
    }
    write_text(options.out, json.dumps(result, indent=1) + "\n")
    draw(result, options.out.with_suffix(".png"))
    return result


def compare(
    space: SearchSpace, todo: ProfilePlan, networks: Networks, log: Log, shape: Shape, seeds: Seeds, training: Training
) -> dict[str, Any]:
    """Return both methods' errors and times, and the predictor's for growing numbers of networks."""
    metric = todo.info.metrics[0].name
    value = {key: combine(log.found[key])[metric].median for key in networks.layers if log.found.get(key)}
    truth = [value[key] for key in networks.test]
    tests = list(networks.test.values())

    table = CostTable(info=todo.info, rows={la.key: combine(log.found[la.key]) for la in todo.layers})
    sums = [table.cost(networks.layers[key])[metric] for key in networks.test]
    layer_wise = attrs.asdict(agreement(sums, truth)) | {
        "layers": len(todo.layers),
        "time_s": sum(log.seconds[la.key] for la in todo.layers),
        "typical_spread": typical_spread((log.found[la.key] for la in todo.layers), metric),
    }

    trained = [key for key in log.found if key in networks.train and key in value]
    archs: list[Architecture] = [networks.train[key] for key in trained]
    load()
    curve = []
    for n in curve_sizes(len(trained)):
        started = time.perf_counter()
        predict = fit(space, archs[:n], [value[k] for k in trained[:n]], seeds.torch("table3-predictor", n), training)
        training_s = time.perf_counter() - started
        measuring_s = sum(log.seconds[key] for key in trained[:n])
        errors = attrs.asdict(agreement(predict(tests), truth))
        times = {"measuring_s": measuring_s, "training_s": training_s, "time_s": measuring_s + training_s}
        curve.append({"networks_measured": n, **errors, **times})
    last = curve[-1]
    return {
        "metric": todo.info.metrics[0].column,
        "layer_wise": layer_wise,
        "predictor": last,
        "times_as_long": last["time_s"] / layer_wise["time_s"],
        "predictor_reaches_layer_wise_after_s": reached(curve, layer_wise["nmse"]),
        "curve": curve,
        "test": {
            "measured": truth,
            "layer_wise": sums,
            "typical_spread": typical_spread((log.found[key] for key in networks.test), metric),
        },
    }


def _identity(options: argparse.Namespace, config: Any, todo: ProfilePlan) -> dict[str, Any]:
    """Return what must be the same for measurements to belong together."""
    return {
        "space": config.space.name,
        "space_options": attrs.asdict(config.space.options),
        "input": list(options.input),
        "n_way": options.n_way,
        "test": options.test,
        "seed": options.seed,
        "device": todo.info.device,
        "fingerprint": todo.info.fingerprint,
    }


def _split_device(
    registry: Registry, backend: str, sets: Sequence[tuple[str, str]]
) -> tuple[str, list[tuple[str, str]]]:
    """Read ``NAME:DEVICE`` where NAME is a registered backend; else a class in user code is meant."""
    name, colon, device = backend.partition(":")
    if colon and any(name == r.plugin.name for r in registry.list("backend")):
        return name, [*sets, ("backend.device", device)]
    return backend, list(sets)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key.strip(), value.strip()


def _shape(text: str) -> Shape:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not channels x height x width, as in 1x28x28")
    channels, height, width = map(int, text.split("x"))
    return channels, height, width


def _several(text: str) -> int:
    if not text.isdigit() or int(text) < 5:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of networks, 5 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
