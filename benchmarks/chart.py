"""Draw the ratios over the plain loop of a results file as bars.

python benchmarks/chart.py benchmarks/results/meta_step.json      # writes meta_step.png beside it
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def draw(content: dict[str, Any], target: Path) -> None:
    """Draw a group of bars for each setting, row and order, a bar for each variant. Other rows have no ratio."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    groups: dict[str, dict[str, float]] = {}
    for row in content["rows"]:
        ratio = row.get("ratio_over_loop", row.get("ratio_over_best_loop"))
        if ratio is not None:
            group = " ".join(str(row[k]) for k in ("config", "row", "order") if k in row)
            count = f" {row['workers']} workers" if "workers" in row else ""
            threads = f" {row['threads']} threads" if count == "" and row.get("threads", 1) > 1 else ""
            groups.setdefault(group, {})[row["variant"] + count + threads] = ratio
    if not groups:
        raise SystemExit(
            f"{content.get('benchmark')}: no row has a ratio over the plain loop, so there is nothing to draw"
        )
    variants = list(dict.fromkeys(v for ratios in groups.values() for v in ratios))
    figure, axes = plt.subplots(figsize=(9, 0.6 + 0.25 * len(groups) * len(variants)), layout="constrained")
    height = 0.8 / len(variants)
    for i, variant in enumerate(variants):
        at = [(j + i * height, r[variant]) for j, r in enumerate(groups.values()) if variant in r]
        bars = axes.barh([p for p, _ in at], [v for _, v in at], height, label=variant)
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
    axes.set_yticks([j + 0.4 - height / 2 for j in range(len(groups))], list(groups), fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("speed over the plain loop")
    axes.set_title(f"{content['benchmark']}, {content['environment']['cpu']}, {content['date'][:10]}", fontsize=9)
    axes.legend(fontsize=8)
    figure.savefig(target, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a results file of the benchmarks.")
    parser.add_argument("results", type=Path, help="a JSON file below benchmarks/results")
    parser.add_argument("--output", type=Path, help="the PNG file; by default beside the results")
    options = parser.parse_args()
    target = options.output or options.results.with_suffix(".png")
    draw(json.loads(options.results.read_text()), target)
    print(target)


if __name__ == "__main__":
    main()
