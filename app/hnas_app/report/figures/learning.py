"""Learning curves: meta-training with the probability of the largest network, and each network's training alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from hnas_app.fronts.plot import label
from hnas_app.report.evidence import Curve
from hnas_app.report.figures.picture import COLOURS, Picture, drawing, legend_below
from hnas_app.report.networks import CHOICE
from hnas_app.training.race import FOUND, Race
from hnas_app.training.sampling.architectures import largest_probability

MOST_POINTS = 120
"""Steps of a curve that are drawn; of a longer one, evenly spaced ones."""


def meta_training(curve: Curve, config: Mapping[str, Any]) -> Picture | None:
    """Draw accuracy by iteration and, if the sampling shrinks, the probability p of Eq. 4 below it."""
    if not curve:
        return None
    tips: dict[str, Sequence[str]] = {}
    p = _probability(config)
    with drawing(3.1 if p else 2.2, 2 if p else 1, sharex=True) as (figure, axes):
        _curve(axes[0], "train", "training tasks (running mean)", curve, COLOURS[0], tips)
        _validations(axes[0], "validation", "validation tasks", curve, COLOURS[1], tips)
        axes[0].set_ylabel("accuracy, %")
        if p:
            axes[1].plot(*zip(*p, strict=True), color=COLOURS[1], gid="p", marker="o", ms=2.2)
            tips["p"] = [f"from iteration {i}: p = {y:.2f}" for i, y in p]
            axes[1].set_ylim(0, 1.05)
            axes[1].set_ylabel("p (largest network)")
        axes[-1].set_xlabel("iteration")
        legend_below(figure, axes)
    checked = " and of validation tasks" if "validation" in tips else ""
    caption = f"Meta-training of the super-net: accuracy on query images of training tasks{checked}. " + (
        "Below: the shrinking probability p with which an iteration trains the largest network (Eq. 4)."
        if p
        else f"The sampling, {config.get('meta_train.sampling', 'unknown')}, has no shrinking probability."
    )
    return Picture(name="meta-training", caption=caption, figure=figure, tips=tips)


def retraining(curves: Mapping[str, Curve], race: Race | None) -> Picture | None:
    """Draw the training of each network alone; after a ``race`` the winner is marked."""
    winner = race.winner[0] if race and race.ranking else None
    found = {p.removeprefix("retrain").strip() or FOUND: c for p, c in curves.items() if p.split()[0] == "retrain"}
    if not found:
        return None
    tips: dict[str, Sequence[str]] = {}
    with drawing(2.6) as (figure, (axes,)):
        for i, (name, curve) in enumerate(found.items()):
            colour, told = COLOURS[i % len(COLOURS)], CHOICE if race and name == FOUND else name
            told += " (won)" if name == winner else ""
            _curve(axes, f"alone-{i}", told, curve, colour, tips)
            _validations(axes, f"checked-{i}", "", curve, colour, tips, who=f"{told}, ")
        axes.set_ylabel("accuracy, %")
        axes.set_xlabel("iteration")
        legend_below(figure, (axes,))
    caption = (
        "Training of each network alone: accuracy on training tasks (running mean) and, as large dots, on validation "
        "tasks. A network that left the race has a shorter curve."
    )
    return Picture(name="re-training", caption=caption, figure=figure, tips=tips)


def _curve(axes: Any, gid: str, name: str, curve: Curve, colour: str, tips: dict[str, Sequence[str]]) -> None:
    """Draw accuracy on training tasks, smoothed: that of a single iteration is of a few tasks."""
    raw = [(done, 100 * values["accuracy"]) for done, values in curve.items() if "accuracy" in values]
    if not raw:
        return
    width = max(1, min(len(raw) // 20, 25))
    smooth = [(x, mean(y for _, y in raw[max(0, i - width) : i + width + 1])) for i, (x, _) in enumerate(raw)]
    points = smooth[:: -(-len(smooth) // MOST_POINTS)]
    style = "--" if int(gid.partition("-")[2] or 0) >= len(COLOURS) else "-"  # two lines of one colour differ
    axes.plot(*zip(*points, strict=True), ls=style, gid=gid, label=label(name), color=colour, marker=".", ms=0.5)
    tips[gid] = [f"{name}, iteration {i}: {y:.1f} % on training tasks" for i, y in points]


def _validations(
    axes: Any, gid: str, name: str, curve: Curve, colour: str, tips: dict[str, Sequence[str]], who: str = ""
) -> None:
    key = "validation_accuracy"
    points = [(done, 100 * values[key]) for done, values in curve.items() if key in values]
    points = points[:: -(-len(points) // MOST_POINTS) or 1]
    if points:
        axes.plot(*zip(*points, strict=True), ls="", gid=gid, label=label(name), color=colour, marker="o", ms=3.5)
        tips[gid] = [f"{who}iteration {i}: {y:.1f} % on validation tasks" for i, y in points]


def _probability(config: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Return p at the first iteration of each epoch, if the sampling of the training shrinks."""
    from hnas_app.config.schema import MetaTrainConfig

    if config.get("meta_train.sampling") != "shrinking":
        return []
    names = ("epochs", "iterations", "shrink_end", "shrink_start", "shrink_decay")
    given = MetaTrainConfig(**{n: config[f"meta_train.{n}"] for n in names if f"meta_train.{n}" in config})
    epochs = range(0, given.epochs, max(1, -(-given.epochs // MOST_POINTS)))
    return [(e * given.iterations, largest_probability(given, e)) for e in epochs]
