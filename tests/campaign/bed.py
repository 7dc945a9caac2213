"""What every attack runs on: folders, homes, and one tiny run that nobody attacked."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from attrs import define, field
from tests.campaign.commands import Child, Outcome, start, text_of

from hnas.toolkit.home import home

PACKAGES = ("hnas", "hnas_app", "hnas_plugins", "hnas_backends", "hnas_strategies")
TINY = {
    "space.base_width": 4, "task.n_way": 2, "strategy.population": 8, "strategy.iterations": 4,
    "learner.inner_steps": 2, "learner.first_order_epochs": 1, "meta_train.epochs": 2, "meta_train.iterations": 20,
    "meta_train.tasks": 2, "meta_train.shrink_start": 1, "meta_train.validate_every": 1,
    "meta_train.validate_tasks": 4, "search.tasks": 3, "search.pool": 10, "search.final_tasks": 5,
    "retrain.epochs": 2, "retrain.iterations": 20, "retrain.tasks": 2, "evaluate.tasks": 60,
}  # fmt: skip
"""A whole run in some seconds."""
BOARD = '''"""A board that takes a while for each layer, so that a kill falls between two rows."""
import time
from attrs import asdict, frozen
from hnas import DeviceInfo, HardwareBackend, Measurement, Metric


class Board(HardwareBackend):
    """Takes ``ns`` for a multiply-accumulate, and ``wait_ms`` for an answer."""

    @frozen(kw_only=True)
    class Options:
        ns: float = 1.0
        wait_ms: float = 1.0

    def __init__(self, options):
        self.options = options

    def describe(self):
        metrics = (Metric(name="latency", unit="us"),)
        return DeviceInfo(backend="slow", device="board", runtime="1", metrics=metrics, settings=asdict(self.options))

    def measure(self, layers):
        for layer in layers:
            time.sleep(self.options.wait_ms / 1000)
            yield {"latency": Measurement(median=1e-3 * self.options.ns * (1 + layer.macs), unit="us")}
'''


@define(slots=False, eq=False)
class Bed:
    """Starts commands, below one folder; see the module."""

    root: Path
    _started: list[Child] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        own = home()
        os.environ["HNAS_HOME"] = str(self.root / "nowhere")  # no attack may reach the user's own
        (self.root / "caches").mkdir()
        for name in ("engine", "layerbench", "glyphs"):  # copied: to compile them takes a minute
            if (own / name).is_dir():
                shutil.copytree(own / name, self.root / "caches" / name)
        _import_everything()
        (self.root / "board.py").write_text(BOARD)

    @property
    def board(self) -> str:
        """The reference of the slow board."""
        return f"{self.root / 'board.py'}:Board"

    def start(
        self,
        words: Sequence[str | bytes],
        *,
        home: Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> Child:
        """Start ``hnas WORDS`` in a folder; ``before`` is called in the process first."""
        child = start(words, cwd, {**(env or {}), "HNAS_HOME": str(home)}, before)
        self._started.append(child)
        return child

    def end_all(self) -> None:
        """Kill what still runs: an attack may have failed in the middle."""
        for child in self._started:
            if child.poll() is None:
                child.kill()
                child.wait()
        self._started.clear()

    def call(self, words: Sequence[str | bytes], *, seconds: float = 120.0, **how: object) -> Outcome:
        """Run ``hnas WORDS`` to its end; see `start`."""
        return self.start(words, **how).wait(seconds)  # type: ignore[arg-type]

    def run_words(self, folder: Path, *, workers: int = 1, seed: int = 0, **settings: object) -> list[str]:
        """Return the words of a tiny run in ``folder``."""
        sets = {**TINY, **{k.replace("__", "."): v for k, v in settings.items()}}
        words = ["run", "--preset", "none", "--workers", str(workers), "--seed", str(seed)]
        words += ["--backend", self.board, "--run-dir", str(folder)]
        return [*words, *(w for key, value in sets.items() for w in ("--set", f"{key}={value}"))]

    # ---------------------------------------------------------------- what is made once

    @cached_property
    def finished(self) -> Path:
        """A folder with a finished run and its home."""
        folder = self.root / "finished"
        shutil.copytree(self.root / "caches", folder / "home")
        done = self.call(self.run_words(folder / "run"), home=folder / "home", cwd=folder, seconds=600)
        assert done.code == 0, done.err
        return folder

    @cached_property
    def warm_home(self) -> Path:
        """A home with compiled programs and rendered glyphs, but without costs."""
        return Path(
            shutil.copytree(self.finished / "home", self.root / "warm-home", ignore=shutil.ignore_patterns("costs.*"))
        )

    def half_done(self, phase: str, folder: Path) -> Path:
        """Make a folder with a home and a run that was killed in a phase."""
        kept = self.root / f"half-{phase}"
        while not kept.exists():
            made = self.root / "half-made"
            shutil.rmtree(made, ignore_errors=True)
            shutil.copytree(self.warm_home, made / "home")
            child = self.start(self.run_words(made / "run"), home=made / "home", cwd=made, before=save_often)
            while child.poll() is None and f'"phase": "{phase}", "kind": "step"' not in text_of(
                made / "run" / "metrics.jsonl"
            ):
                time.sleep(0.005)
            child.kill()
            if child.wait().code < 0:
                made.rename(kept)
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        return folder


def save_often() -> None:
    """Have a command save and report after every iteration."""
    report_often()
    importlib.import_module("hnas_app.training.outer_loop").CHECKPOINT_SECONDS = 0.0  # type: ignore[attr-defined]


def report_often() -> None:
    """Have a command report after every iteration."""
    importlib.import_module("hnas_app.training.outer_loop").REPORT_SECONDS = 0.0  # type: ignore[attr-defined]


def _import_everything() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = "1"  # a pool of threads does not survive a fork
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                try:
                    importlib.import_module(module.name)
                except ImportError:
                    continue  # of an optional package
    assert threading.active_count() == 1
