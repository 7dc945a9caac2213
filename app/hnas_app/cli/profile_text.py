"""What ``hnas profile`` prints: the layers that cost most, reference networks, and how far the table can be trusted."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from hnas_app.cli.output import print_table

MOST = 20
"""Rows of layers on a terminal; a pipe gets all."""


def print_profile(record: Mapping[str, Any], space: str, backend: str) -> None:
    """Print the record of `profile_json`; the layers that cost most in the device's first metric come first."""
    layers, references = record["layers"], record["references"]
    metrics = [k for k in layers[0] if k not in ("layer", "key")] if layers else []
    ordered = sorted(layers, key=lambda row: (-row[metrics[0]], row["key"]))
    shown = ordered[:MOST] if sys.stdout.isatty() else ordered
    head = [m.upper() for m in metrics]
    print_table(("LAYER", *head), [(r["key"], *(number(r[m]) for m in metrics)) for r in shown])
    if len(shown) < len(ordered):
        print(f"… and {len(ordered) - len(shown)} more; --json has all")
    print(f"{len(layers)} distinct layers of {space} on {backend}")
    for line in _trust(record["check"]):
        print(line)
    if references:
        columns = list(next(iter(references.values())))
        rows = [(name, *(number(costs[c]) for c in columns)) for name, costs in references.items()]
        print("\nThe space's reference networks, put together from such layers; limits are chosen by them:")
        print_table(("NETWORK", *(c.upper() for c in columns)), rows)


def number(value: float) -> str:
    """Return a number with four significant digits, and a count as it is."""
    return str(value) if isinstance(value, int) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _trust(check: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences on how far the table can be trusted."""
    if rounds := check.get("rounds"):
        spread = rounds["typical_spread"]
        noise = "" if spread is None else f", which differ by {100 * spread:.1f} % typically"
        blocks = f"{rounds['blocks_repeated']} blocks were repeated, {rounds['blocks_unsteady']} stayed unsteady"
        yield f"each the median of {rounds['count']} rounds{noise}; {blocks}"
    if found := check.get("verified"):
        for name, of in (("sums over layers", found), ("calibrated sums", found.get("calibrated"))):
            if of:
                yield (
                    f"{name} against {of['networks']} whole networks ({found['metric']}): mean error "
                    f"{of['mape']:.1f} %, Kendall tau {of['tau']:.3f}, MSE {of['mse']:.3g}, "
                    f"measured/estimated {of['ratio']:.3f}"
                )
