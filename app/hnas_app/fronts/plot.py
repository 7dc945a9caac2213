"""The picture of fronts: cost against loss or accuracy, a panel for each device, reference networks as stars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hnas.errors import shown
from hnas_app.fronts.scoring import Front, Network

_MARKERS = "osvDP^"
_STARS = "*XPd"


def plot_fronts(fronts: Sequence[Front], path: Path) -> None:
    """Draw every series of every front into one file, PNG or SVG by its ending. Raises `OSError` if it cannot."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(fronts), 4.4), layout="constrained")
    for column, front in enumerate(fronts):
        axes = figure.add_subplot(1, len(fronts), column + 1)
        for i, series in enumerate(s for s in front.series if s.front):
            costs, heights = zip(*(_place(n, front) for n in series.front), strict=True)
            name = label(f"{series.strategy}, hypervolume {100 * series.share:.1f} %")
            axes.step(
                costs, heights, where="post", lw=1, marker=_MARKERS[i % len(_MARKERS)], ms=4, color=f"C{i}", label=name
            )
        for i, (name, network) in enumerate(front.references.items()):
            x, y = _place(network, front)
            axes.scatter(
                x, y, 90, marker=_STARS[i % len(_STARS)], color="k", zorder=3, label=label(f"{name}, reference")
            )
        axes.set_title(label(front.device), fontsize=9)
        axes.set_xlabel(label(front.metric.column.replace("_", " in ")))
        axes.set_ylabel("loss, nats" if front.by == "loss" else "accuracy, %")
        axes.legend(fontsize=7)
    with matplotlib.rc_context({"svg.hashsalt": "hnas"}):
        kind = path.suffix.lower()
        metadata = {"Date": None} if kind == ".svg" else {"Software": None} if kind == ".png" else None
        figure.savefig(path, dpi=150, metadata=metadata)


def label(text: str) -> str:
    """Return text of others as matplotlib draws it as it is: with dollars it would be a formula."""
    return shown(text).replace("$", r"\$")


def _place(network: Network, front: Front) -> tuple[float, float]:
    return network.cost, network.loss if front.by == "loss" else 100 * network.accuracy.mean
