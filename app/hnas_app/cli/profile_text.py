"""What ``hnas profile`` prints: the layers that cost most, reference networks, and how far the table can be trusted."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hnas_app.cli.output import print_table
from hnas_app.costs.amounts import column

MOST = 20
"""Rows of layers on a terminal; a pipe gets all."""


def print_profile(record: Mapping[str, Any], space: str, backend: str) -> None:
    """Print the record of `profile_json`; the layers that cost most in the device's first metric come first."""
    layers, references = record["layers"], record["references"]
    metrics = [k for k in layers[0] if k not in ("layer", "key")] if layers else []
    ordered = sorted(layers, key=lambda row: (-row[metrics[0]], row["key"]))
    unsteady = set(record["check"].get("rounds", {}).get("unsteady_layers", ()))
    shown = ordered[:MOST] if sys.stdout.isatty() else ordered
    print_table(*_table("LAYER", [_marked(r["key"], unsteady) for r in shown], shown, metrics))
    if len(shown) < len(ordered):
        print(f"… and {len(ordered) - len(shown)} more; --json has all")
    print(f"{len(layers)} distinct layers of {space} on {backend}")
    for line in _trust(record["check"]):
        print(line)
    if references:
        columns = list(next(iter(references.values())))
        print("\nThe space's reference networks, put together from such layers; limits are chosen by them:")
        print_table(*_table("NETWORK", list(references), list(references.values()), columns))


def _marked(key: str, unsteady: set[str]) -> str:
    return f"{key} ~" if key in unsteady else key


def _table(
    what: str, names: Sequence[str], costs: Sequence[Mapping[str, float]], metrics: Sequence[str]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return head and rows: a name and the costs of each."""
    columns = [column(metric, [row[metric] for row in costs]) for metric in metrics]
    heads = [head.replace("µ", "\0").upper().replace("\0", "µ") for head, _ in columns]  # there is no large µ
    return [what, *heads], [(name, *(cells[i] for _, cells in columns)) for i, name in enumerate(names)]


def _trust(check: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences on how far the table can be trusted."""
    if rounds := check.get("rounds"):
        spread = rounds["typical_spread"]
        noise = "" if spread is None else f", which differ by {100 * spread:.1f} % typically"
        blocks = f"{rounds['blocks_repeated']} blocks were repeated, {rounds['blocks_unsteady']} stayed unsteady"
        yield f"each the median of {rounds['count']} rounds{noise}; {blocks}"
        if doubtful := rounds.get("unsteady_layers"):
            yield (
                f"~ {len(doubtful)} layers were measured while the device was unsteady: their rounds disagree; --fresh "
                "measures again"
            )
    if found := check.get("verified"):
        for name, of in (("sums over layers", found), ("calibrated sums", found.get("calibrated"))):
            if of:
                yield (
                    f"{name} against {of['networks']} whole networks ({found['metric']}): mean error "
                    f"{of['mape']:.1f} %, Kendall tau {of['tau']:.3f}, MSE {of['mse']:.3g}, "
                    f"measured/estimated {of['ratio']:.3f}"
                )
