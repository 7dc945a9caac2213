"""Classes in user code run from the command line and from Python: a whole run on the examples, as small as can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hnas

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HNAS = Path(sys.executable).with_name("hnas")
TINY: dict[str, Any] = {
    "space.base_width": 4,
    "learner.inner_steps": 1,
    "meta_train.epochs": 1,
    "meta_train.iterations": 1,
    "meta_train.tasks": 1,
    "meta_train.validate_tasks": 2,
    "search.tasks": 1,
    "search.pool": 2,
    "search.final_tasks": 2,
    "strategy.iterations": 2,
    "strategy.neighbours": 3,
    "retrain.epochs": 1,
    "retrain.iterations": 1,
    "retrain.tasks": 1,
    "evaluate.tasks": 2,
    "evaluate.n_query": 2,
}
USER_CODE = {
    "space": f"{EXAMPLES / 'custom_space.py'}:MySpace",
    "learner": f"{EXAMPLES / 'custom_learner.py'}:Reptile",
    "backend": f"{EXAMPLES / 'custom_backend.py'}:MyBoard",
    "strategy": f"{EXAMPLES / 'custom_strategy.py'}:MyStrategy",
}
LIMITS = "latency<=0.06ms,memory<=6KiB"


def test_from_the_command_line(tmp_path):
    """Four kinds at once; both limits hold for what is found: memory combines by maximum, latency by sum."""
    flags = [word for kind, reference in USER_CODE.items() for word in (f"--{kind}", reference)]
    sets = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    command = [HNAS, "run", *flags, *sets, "--constraint", LIMITS, "--workers", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["networks"][0]
    assert found["arch"]["space"] == "my-space"
    assert 0 < found["cost"]["values"]["latency"] <= 0.06
    assert 0 < found["cost"]["values"]["memory"] <= 6


def test_from_python_with_objects(tmp_path):
    """The same from Python, where a class needs no name: its objects are given."""
    registry = hnas.Registry()

    def made(kind: Any, **options: Any) -> Any:
        return registry.create(kind, USER_CODE[kind], registry.options_class(kind, USER_CODE[kind])(**options))

    settings = {k: v for k, v in TINY.items() if not k.startswith(("space.", "strategy.", "learner."))}
    run = hnas.run(
        space=made("space", base_width=4),
        learner=made("learner", inner_steps=1),
        backend=made("backend"),
        strategy=made("strategy", iterations=2, neighbours=3),
        preset="none",
        constraints=LIMITS,
        settings=settings,
        run_dir=tmp_path / "run",
    )
    assert run.found.arch.space == "my-space"
    assert run.found.cost["memory"] <= 6
