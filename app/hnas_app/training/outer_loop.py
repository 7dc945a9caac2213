"""The outer loop: meta-training, of a super-net or of one architecture alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from hnas.architecture import Architecture
from hnas.errors import DataError, DivergenceError
from hnas.events import Event, Listener
from hnas.learner import Progress, State
from hnas.task_source import Split
from hnas_app.config.schema import MetaTrainConfig, RetrainConfig
from hnas_app.executors.interface import Executor
from hnas_app.executors.interruption import held
from hnas_app.training.best import Best, judged
from hnas_app.training.checkpoint import load_latest, save_checkpoint
from hnas_app.training.meta_batch import Part, cut, meta_gradient
from hnas_app.training.sampling.attention import Attention
from hnas_app.training.setup.returned import checked_scores
from hnas_app.training.setup.setup import Setup, from_driver, to_workers

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
    keep_best: bool = False
    patience: int = 0
    rate_factor: float = 1.0

    @classmethod
    def of(cls, config: MetaTrainConfig | RetrainConfig) -> TrainPlan:
        """Return what a section of the configuration says of these; the others keep their defaults."""
        said = attrs.asdict(config)
        return cls(**{f.name: said[f.name] for f in attrs.fields(cls) if f.name in said})

    def progress(self, iteration: int) -> Progress:
        """Return how far a training is at an iteration."""
        return Progress(
            iteration=iteration,
            iterations_per_epoch=self.iterations,
            epochs=self.epochs,
            rate_factor=self.rate_factor,
        )


Sampler = Callable[[Progress], Sequence[Architecture]]
"""The architectures that an iteration trains; its tasks are shared out among them.

Must depend only on the progress and on what the training's `Attention` has learnt.
"""


def train(
    setup: Setup,
    plan: TrainPlan,
    sampler: Sampler,
    executor: Executor,
    *,
    phase: str,
    stream: str = "",
    folder: Path,
    emit: Listener,
    start: Callable[[], State],
    attention: Attention | None = None,
    finished: bool = False,
    until: int | None = None,
) -> State:
    """Meta-train until the plan is done, and return the learnt state.

    ``stream`` names its tasks: trainings of one stream, by default that of their ``phase``, have the same ones.
    With ``keep_best`` or ``patience`` it is the best state by validation, which the last checkpoint then holds, too.
    Continues from the last good checkpoint in ``folder`` if there is one; else from ``start()``. The result is the same
    either way, and the same for any number of workers if the learner's sums are exact (`meta_gradient`). ``attention``
    learns each architecture's accuracy, and is kept in the checkpoints. If several ranks train together, the one that
    `Executor.leads` reads and writes them. ``until`` stops it after so many iterations, with a checkpoint from which it
    goes on as if it had not stopped. If the training is known to be ``finished``, its last checkpoint should be there,
    and a note reports if it is not. Raises `DivergenceError` when the meta-loss is no longer a number, and `DataError`
    if the training is past ``until``.
    """
    stream = stream or phase
    total = plan.epochs * plan.iterations
    last = total if until is None else min(until, total)
    found = None
    if executor.leads:
        found = load_latest(folder, "state", notify=lambda text: emit(Event(phase=phase, kind="note", text=text)))
    state, saved_with = executor.from_leader(*(found or (start(), {"iteration": 0})))
    first = int(saved_with["iteration"])
    if attention and "attention" in saved_with:
        attention.memory = saved_with["attention"]
    if first > last and "kept" not in saved_with:
        raise DataError(
            f"{phase}: {folder} is at iteration {first}, and its state after {last} is no longer there",
            hint="restore race.json, which says how long each network was trained, or move the folder away",
        )
    if first >= last or "kept" in saved_with:
        return state
    if finished:
        text = f"the last checkpoint of {phase} is not in {folder}, so it is trained again from iteration {first}"
        emit(Event(phase=phase, kind="note", text=text))
    best = Best(folder=folder, patience=plan.patience, archs=judged(setup)) if plan.keep_best or plan.patience else None
    if best and "best" in saved_with:
        best.go_on(saved_with["best"])

    def tell(kind: str, done: int, values: Mapping[str, float] | None = None) -> None:
        emit(Event(phase=phase, kind=kind, done=done, total=last, values=values or {}))

    tell("start", first)
    setup.send(executor)

    on_disk, whole = first, True
    """Iterations whose state is on disk, and whether the one in memory is that between two iterations."""

    def keep(done: int, *, improved: bool = False, ends: bool = False) -> None:
        nonlocal state, on_disk
        _refuse_diverged(state, phase, done, folder)
        more: dict[str, Any] = {"attention": attention.memory} if attention else {}
        with held():
            if best:
                more["best"] = best.record
                if improved:
                    best.save(state)
                if ends:
                    state, more["kept"] = best.load(), {"stopped": done, **best.record}
            save_checkpoint(folder, f"state-{done:08d}", state, {"iteration": done, **more})
            on_disk = done

    saved = reported = time.monotonic()
    window: list[tuple[float, float]] = []
    done = first
    try:
        for iteration in range(first, last):
            progress = plan.progress(iteration)
            parts = cut(sampler(progress), plan.tasks, executor.size, setup.work)
            gradient, scores = meta_gradient(executor, state, parts, plan.n_query, progress, stream)
            for part, (loss, _) in zip(parts, scores, strict=True):
                if not math.isfinite(loss):
                    raise DivergenceError(
                        f"{phase}: the meta-loss is {loss} at iteration {iteration}, with architecture "
                        f"{setup.space.options(part.arch)}",
                        hint=_anew(folder),
                    )
            validates = (iteration + 1) % (plan.iterations * plan.validate_every) == 0 and iteration + 1 < total
            judges = best is not None and (validates or iteration + 1 == total)
            with held():
                whole = False
                setup.learner.update(state, gradient, plan.tasks, progress)
                if attention:
                    for arch, accuracy in _accuracies(parts, scores).items():
                        attention.learn(arch, accuracy)
                done, whole = iteration + 1, not judges  # a state is kept with its judgement, or not at all
            window.append(_mean(parts, scores))
            now, improved = time.monotonic(), False
            if validates or judges:
                archs = best.archs if best else sampler(progress)[:1]
                scored = validate(setup, executor, state, archs=archs, plan=plan, stream=stream)
                if best:
                    _, scored = executor.from_leader({}, scored)  # other ranks may have rounded otherwise
                    improved = best.judge(done, scored["validation_accuracy"])
                tell("step", done, {"epoch": progress.epoch + 1, **scored})
            ends = done == total or (best is not None and best.is_over)
            if executor.leads and (now - saved >= CHECKPOINT_SECONDS or ends or judges or done == last):
                keep(done, improved=improved, ends=ends)
                saved = now
            if now - reported >= REPORT_SECONDS or ends or done == last:
                losses, accuracies = zip(*window, strict=True)
                mean_loss, mean_accuracy = sum(losses) / len(window), sum(accuracies) / len(window)
                values = {"epoch": progress.epoch + 1, "loss": mean_loss, "accuracy": mean_accuracy}
                tell("step", done, values if best is None else values | best.told)
                window, reported = [], now
            if best and ends:
                state, _ = executor.from_leader(state, {})
                tell("end", done, {"kept_iteration": best.iteration, "validation_accuracy": best.accuracy or 0.0})
                return state
    except KeyboardInterrupt:
        if executor.leads and whole and done > on_disk:
            keep(done)
        raise
    tell("end", last)
    return state


def _accuracies(parts: Sequence[Part], scores: Sequence[tuple[float, float]]) -> dict[Architecture, float]:
    """Return each architecture's mean accuracy over its tasks, in their order, however they were cut into parts."""
    sums: dict[Architecture, tuple[float, int]] = {}
    for part, (_, accuracies) in sorted(zip(parts, scores, strict=True), key=lambda found: found[0].tasks.start):
        total, n = sums.get(part.arch, (0.0, 0))
        sums[part.arch] = (total + accuracies, n + len(part.tasks))
    return {arch: total / n for arch, (total, n) in sums.items()}


def _mean(parts: Sequence[Part], scores: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean loss and accuracy over the tasks of all parts."""
    n = sum(len(part.tasks) for part in parts)
    losses, accuracies = zip(*scores, strict=True)
    return sum(losses) / n, sum(accuracies) / n


def not_finite(state: State) -> list[str]:
    """Return the names of what a training learnt that is no longer finite."""
    return [k for k, v in state.items() if not k.startswith("outer/") and not bool(v.isfinite().all())]


def _refuse_diverged(state: State, phase: str, done: int, folder: Path) -> None:
    """Raise `DivergenceError` rather than save a state that is no longer finite: a meta-gradient overflowed."""
    if bad := not_finite(state):
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise DivergenceError(
            f"{phase}: after iteration {done - 1} these are no longer finite: {', '.join(bad[:3])}{more}",
            hint=_anew(folder),
        )


def _anew(folder: Path) -> str:
    saved = sorted(folder.glob("state-*.json"))
    kept = f"the last good checkpoint is {saved[-1]}" if saved else f"no checkpoint was saved yet in {folder}"
    rates = "with maml++ learner.meta_lr and learner.inner_lr, and learner.gradient_clamp bounds its steps"
    return f"{kept}; train anew at lower rates ({rates}; `hnas plugins show LEARNER` lists those of others)"


def validate(
    setup: Setup, executor: Executor, state: State, *, archs: Sequence[Architecture], plan: TrainPlan, stream: str
) -> Mapping[str, float]:
    """Return the mean loss and accuracy of ``archs`` on the validation tasks, which are the same each time."""
    tasks = f"{stream}-validation"
    scored = [score_tasks(executor, state, a, "validation", tasks, plan.validate_tasks, plan.n_query) for a in archs]
    losses, accuracies = ([x for scores in scored for x in scores[i]] for i in (0, 1))
    n = len(losses)
    return {"validation_loss": sum(losses) / n, "validation_accuracy": sum(accuracies) / n}


def score_tasks(
    executor: Executor, state: State, arch: Architecture, split: Split, purpose: str, n_tasks: int, n_query: int
) -> tuple[list[float], list[float]]:
    """Return loss and accuracy of ``arch`` on each of the first ``n_tasks`` tasks of a stream, spread over workers."""
    chunk = 25
    parts = [range(a, min(a + chunk, n_tasks)) for a in range(0, n_tasks, chunk)]
    executor.put(scored=to_workers(state))
    results = executor.map(score_part, [(arch, split, purpose, part, n_query) for part in parts])
    return [x for r in results for x in r[0]], [x for r in results for x in r[1]]


def score_part(values: Mapping[str, Any], item: Any) -> tuple[list[float], list[float]]:
    """Run in a worker: score one architecture on some tasks."""
    setup: Setup = values["setup"]
    arch, split, purpose, tasks, n_query = item
    episodes = setup.episodes(split, purpose, tasks, n_query)
    found = setup.learner.score(setup.supernet, from_driver(values["scored"], setup), episodes, arch)
    scores = checked_scores(setup.learner, found, len(episodes))
    return scores.loss.tolist(), scores.accuracy.tolist()
