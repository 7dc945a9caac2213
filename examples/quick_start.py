"""A whole run from Python, in one call: a network found for few-shot tasks on a device, with its costs and accuracies.

python examples/quick_start.py                        some three minutes on two cores
python examples/quick_start.py --tiny --out runs/try  in seconds, too short to learn much
"""

from __future__ import annotations

import argparse
from typing import Any

import hnas

TINY: dict[str, Any] = {
    "space.base_width": 8,
    "meta_train.epochs": 1,
    "meta_train.iterations": 3,
    "meta_train.tasks": 2,
    "meta_train.validate_tasks": 2,
    "strategy.population": 6,
    "strategy.iterations": 2,
    "search.tasks": 2,
    "search.pool": 4,
    "search.final_tasks": 4,
    "retrain.epochs": 1,
    "retrain.iterations": 2,
    "retrain.tasks": 2,
    "evaluate.tasks": 10,
    "evaluate.n_query": 5,
}
"""A budget with which nothing is learnt, to see everything work."""


def show(event: hnas.Event) -> None:
    """Print the progress: called with each event of the run."""
    if event.kind == "step":
        values = ", ".join(f"{name} {value:.3g}" for name, value in event.values.items() if isinstance(value, float))
        print(f"{event.phase}: {event.done} of {event.total}; {values}")
    elif event.kind == "note":
        print(f"{event.phase}: {event.text}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Find a network for few-shot tasks on a device.")
    parser.add_argument("--tiny", action="store_true", help="in seconds, too short to learn much")
    parser.add_argument("--out", help="run directory; goes on where it stopped (default: a new one below runs/)")
    given = parser.parse_args()

    run = hnas.run(
        space="vgg9",
        backend="eyeriss",
        tasks="glyphs",
        preset="quick",
        constraints=["latency<=0.6ref", "params<=20K"],
        seed=0,
        settings=TINY if given.tiny else {},
        run_dir=given.out,
        workers=1 if given.tiny else 0,
        on_event=show,
    )

    for network in run.results.networks:
        latency_ms, params = network.cost["latency"], network.cost["params"]
        print(f"{network.name}: {latency_ms:.4g} ms, {params:,.0f} parameters, re-trained {network.retrained}")
    print(f"found: {dict(run.found.options)}\nrun directory: {run.path}")

    # The super-net serves another limit without being trained again.
    smaller = run.branch(constraints="params<=10K")
    chosen = smaller.adapt().chosen
    print(
        f"below 10 thousand parameters: {chosen.cost['params']:.0f}, {100 * chosen.accuracy:.1f} % without re-training"
    )


if __name__ == "__main__":
    main()
