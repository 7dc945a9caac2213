"""The predictor's error against the time that it took, beside the layer-wise table's one point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hnas import HnasError

FEWEST = 10
LEAST = 5


def curve_sizes(measured: int) -> list[int]:
    """Return growing numbers of training networks, doubling, the last of which is all. Raises `HnasError`."""
    if measured < LEAST:
        raise HnasError(
            f"{measured} training networks were measured; a predictor needs {LEAST} at least",
            hint="give more --minutes and run the command again: what was measured is kept",
        )
    sizes = [FEWEST << i for i in range(32) if FEWEST << i < measured]
    return [*sizes, measured]


def reached(curve: Sequence[Mapping[str, Any]], nmse: float) -> float | None:
    """Return the seconds after which the predictor is as good, or ``None`` where it never is."""
    return next((point["time_s"] for point in curve if point["nmse"] <= nmse), None)


def draw(result: Mapping[str, Any], target: Path) -> None:
    """Draw MSE and MAPE against time, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogFormatter

    curve, table = result["curve"], result["layer_wise"]
    figure, plots = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axes, name, label in zip(plots, ("nmse", "mape"), ("MSE of latency / mean", "MAPE, %"), strict=True):
        axes.plot([p["time_s"] for p in curve], [p[name] for p in curve], "o-", label="predictor (one-hot, MLP 3×400)")
        for point in curve:
            at = (point["time_s"], point[name])
            axes.annotate(
                str(point["networks_measured"]), at, textcoords="offset points", xytext=(4, 4), fontsize=7
            )  # fmt: skip
        axes.plot([table["time_s"]], [table[name]], "s", color="tab:red", label="layer-wise table")
        axes.axhline(table[name], color="tab:red", linewidth=0.6, linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("seconds of measuring and training")
        axes.set_ylabel(label)
        for axis in (axes.xaxis, axes.yaxis):  # or labels overlap
            axis.set_major_formatter(LogFormatter(labelOnlyBase=True))
            axis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    plots[0].legend(fontsize=8)
    networks = f"{table['networks']} test networks, numbers: training networks"
    device = result["device"]["device"] + (f" ({result['note']})" if result.get("note") else "")
    figure.suptitle(f"{device}: {networks}", fontsize=9)
    figure.savefig(target, dpi=150)
    plt.close(figure)
