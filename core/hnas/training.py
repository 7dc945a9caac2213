"""The outer loop: meta-training, of a super-net or of one architecture alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.accelerator import memory_explained
from hnas.architecture import Architecture
from hnas.checkpoint import load_latest, save_checkpoint
from hnas.errors import DivergenceError
from hnas.events import Event, Listener
from hnas.executor import Executor
from hnas.learner import Gradient, Progress, State
from hnas.setup import Setup
from hnas.task_source import Split

CHECKPOINT_SECONDS = 20.0
REPORT_SECONDS = 0.5


@frozen(kw_only=True)
class TrainPlan:
    """How long to train and on what: the outer loop's settings."""

    epochs: int
    iterations: int
    tasks: int
    n_query: int
    validate_every: int = 5
    validate_tasks: int = 100
    rate_factor: float = 1.0


Sampler = Callable[[Progress], Architecture]
"""Which architecture an iteration trains. Must depend on the progress only."""


def train(
    setup: Setup,
    plan: TrainPlan,
    sampler: Sampler,
    executor: Executor,
    *,
    phase: str,
    folder: Path,
    emit: Listener,
    start: Callable[[], State],
) -> State:
    """Meta-train until the plan is done, and return the learnt state.

    Continues from the last good checkpoint in ``folder`` where there is one; else from ``start()``. The result is the
    same either way, and does not depend on the number of workers beyond the order of float additions. Raises
    `DivergenceError` when the meta-loss is no longer a number.
    """
    total = plan.epochs * plan.iterations
    found = load_latest(folder, "state", notify=lambda text: emit(Event(phase=phase, kind="note", text=text)))
    state, first = (found[0], int(found[1]["iteration"])) if found else (start(), 0)
    if first >= total:
        return state
    emit(Event(phase=phase, kind="start", done=first, total=total))
    setup.send(executor)
    saved = reported = time.monotonic()
    window: list[tuple[float, float]] = []
    for iteration in range(first, total):
        progress = Progress(
            iteration=iteration,
            iterations_per_epoch=plan.iterations,
            epochs=plan.epochs,
            rate_factor=plan.rate_factor,
        )
        arch = sampler(progress)
        gradient, loss, accuracy = _meta_gradient(executor, state, arch, plan, progress, phase)
        if not math.isfinite(loss):
            raise DivergenceError(
                f"{phase}: the meta-loss is {loss} at iteration {iteration}, with architecture "
                f"{setup.space.options(arch)}",
                hint=_anew(folder),
            )
        setup.learner.update(state, gradient, plan.tasks, progress)
        window.append((loss, accuracy))
        done, now = iteration + 1, time.monotonic()
        if done % (plan.iterations * plan.validate_every) == 0 and done < total:
            values = validate(setup, executor, state, arch=sampler(progress), plan=plan, phase=phase)
            emit(
                Event(phase=phase, kind="step", done=done, total=total, values={"epoch": progress.epoch + 1, **values})
            )
        if now - saved >= CHECKPOINT_SECONDS or done == total:
            _refuse_diverged(state, phase, done, folder)
            save_checkpoint(folder, f"state-{done:08d}", state, {"iteration": done})
            saved = now
        if now - reported >= REPORT_SECONDS or done == total:
            losses, accuracies = zip(*window, strict=True)
            values = {"epoch": progress.epoch + 1, "loss": sum(losses) / len(window)}
            values["accuracy"] = sum(accuracies) / len(window)
            emit(Event(phase=phase, kind="step", done=done, total=total, values=values))
            window, reported = [], now
    emit(Event(phase=phase, kind="end", done=total, total=total))
    return state


def _refuse_diverged(state: State, phase: str, done: int, folder: Path) -> None:
    """Raise `DivergenceError` rather than save a state that is no longer finite: a meta-gradient overflowed."""
    bad = [k for k, v in state.items() if not k.startswith("outer/") and not bool(v.isfinite().all())]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise DivergenceError(
            f"{phase}: after iteration {done - 1} these are no longer finite: {', '.join(bad[:3])}{more}",
            hint=_anew(folder),
        )


def _anew(folder: Path) -> str:
    saved = sorted(folder.glob("state-*.json"))
    kept = f"the last good checkpoint is {saved[-1]}" if saved else f"no checkpoint was saved yet in {folder}"
    return f"{kept}; lower learner.meta_lr or learner.inner_lr, or set learner.gradient_clamp, and train anew"


def validate(
    setup: Setup, executor: Executor, state: State, *, arch: Architecture, plan: TrainPlan, phase: str
) -> dict[str, float]:
    """Return loss and accuracy of ``arch`` on the validation tasks."""
    losses, accuracies = score_tasks(
        executor, state, arch, "validation", f"{phase}-validation", plan.validate_tasks, plan.n_query
    )
    n = len(losses)
    return {"validation_loss": sum(losses) / n, "validation_accuracy": sum(accuracies) / n}


def score_tasks(
    executor: Executor, state: State, arch: Architecture, split: Split, purpose: str, n_tasks: int, n_query: int
) -> tuple[list[float], list[float]]:
    """Return loss and accuracy of ``arch`` on each of the first ``n_tasks`` tasks of a stream, spread over workers."""
    chunk = 25
    parts = [range(a, min(a + chunk, n_tasks)) for a in range(0, n_tasks, chunk)]
    executor.put(scored=to_workers(state))
    results = executor.map(_score_part, [(arch, split, purpose, part, n_query) for part in parts])
    return [x for r in results for x in r[0]], [x for r in results for x in r[1]]


def _meta_gradient(
    executor: Executor, state: State, arch: Architecture, plan: TrainPlan, progress: Progress, phase: str
) -> tuple[Gradient, float, float]:
    """Return the sum over the meta-batch of the meta-gradient, with mean query loss and accuracy."""
    import torch

    n = min(executor.size, plan.tasks)
    cuts = [plan.tasks * i // n for i in range(n + 1)]
    executor.put(state=to_workers(state))
    items = [(arch, progress, range(a, b), plan.n_query, f"{phase}-tasks") for a, b in pairwise(cuts)]
    parts = executor.map(_gradient_part, items)
    gradient: Gradient = {}
    for part, _, _ in parts:
        for name, value in part.items():
            added = torch.from_numpy(value)
            gradient[name] = gradient[name] + added if name in gradient else added
    loss, accuracy = (sum(x for part in parts for x in part[i]) / plan.tasks for i in (1, 2))
    return gradient, loss, accuracy


def _gradient_part(values: Mapping[str, Any], item: Any) -> tuple[dict[str, Any], list[float], list[float]]:
    """Run in a worker: the meta-gradient over some tasks of the meta-batch."""
    setup: Setup = values["setup"]
    arch, progress, tasks, n_query, purpose = item
    episodes = setup.episodes("train", purpose, tasks, n_query, progress.iteration)
    state = from_driver(values["state"], setup)
    with memory_explained(
        f"the networks of {len(tasks)} tasks, {setup.n_way} x ({setup.k_shot} + {n_query}) images each",
        "the phase's tasks or n_query, or learner.batch_below_gflop",
    ):
        gradient, scores = setup.learner.gradient(setup.supernet, state, episodes, arch, progress)
        arrays = {k: v.detach().cpu().numpy() for k, v in gradient.items()}
    return arrays, scores.loss.tolist(), scores.accuracy.tolist()


def _score_part(values: Mapping[str, Any], item: Any) -> tuple[list[float], list[float]]:
    """Run in a worker: score one architecture on some tasks."""
    setup: Setup = values["setup"]
    arch, split, purpose, tasks, n_query = item
    episodes = setup.episodes(split, purpose, tasks, n_query)
    scores = setup.learner.score(setup.supernet, from_driver(values["scored"], setup), episodes, arch)
    return scores.loss.tolist(), scores.accuracy.tolist()


def to_workers(state: State) -> dict[str, Any]:
    """Return the state as arrays, which cross a pipe faster than tensors, without what only the driver needs."""
    return {k: v.numpy() for k, v in state.items() if not k.startswith("outer/")}


def from_driver(arrays: Mapping[str, Any], setup: Setup) -> State:
    """Return the state that `to_workers` sent, as tensors on the set-up's accelerator."""
    import torch

    return {k: torch.from_numpy(v).to(setup.accelerator) for k, v in arrays.items()}
