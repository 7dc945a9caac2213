"""The cost of importing a plugin's hooks, measured in a process of its own (``python -m`` this module)."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import subprocess
import sys
import time

from attrs import frozen

from hnas.errors import PluginError, short
from hnas.toolkit.files import parse_json

HEAVY = frozenset(
    {"cv2", "jax", "keras", "matplotlib", "onnx", "onnxruntime", "pandas", "pymoo", "ray", "scalesim", "scipy"}
    | {"sklearn", "tensorflow", "torch", "torchvision", "transformers"}
)
SLOW_S = 0.3
"""Seconds from which an import is slow: every listing and every unknown name waits for it."""
TIMEOUT_S = 120


@frozen(kw_only=True)
class ImportCost:
    """The cost of a module's import beyond that of hnas: seconds, heavy packages, and printed text."""

    seconds: float
    heavy: tuple[str, ...] = ()
    printed: str = ""


def import_cost(module: str) -> ImportCost:
    """Import a module in a fresh process and measure it. Raises `PluginError` if the process fails."""
    command = [sys.executable, "-P", "-m", "hnas_app.plugin_tools.import_cost", module]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as cause:
        raise PluginError(f"importing {module} did not end within {TIMEOUT_S} s") from cause
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]
        raise PluginError(f"importing {module} in a process of its own: {last}")
    try:
        told = parse_json(done.stdout.splitlines()[-1])
        return ImportCost(seconds=told["seconds"], heavy=tuple(told["heavy"]), printed=told["printed"])
    except (ValueError, LookupError, TypeError) as cause:  # it printed at its end
        raise PluginError(f"importing {module} gave {short(done.stdout[-200:])}, expected a line of JSON") from cause


def main(module: str) -> None:
    """Import a module and print its cost as a line of JSON."""
    before = set(sys.modules)
    printed = io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(printed):
        importlib.import_module(module)
    seconds = time.perf_counter() - began
    heavy = sorted({name.partition(".")[0] for name in set(sys.modules) - before} & HEAVY)
    print(json.dumps({"seconds": seconds, "heavy": heavy, "printed": printed.getvalue()[:200]}))


if __name__ == "__main__":
    main(sys.argv[1])
