"""The operations that hnas knows, and the shapes that a layer of each can have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from hnas.errors import close_matches
from hnas.toolkit.activations import ACTIVATIONS

OPERATIONS: Mapping[str, str] = MappingProxyType(
    {"conv2d": "weights", "linear": "weights", "max_pool": "pooling", "avg_pool": "pooling"}
    | {"norm": "element-wise", "add": "join", "concat": "join", **dict.fromkeys(ACTIVATIONS, "activation")}
)
"""By the name in a `Layer`. Only ``weights`` have multiply-accumulates; only they and ``norm`` have parameters."""
OLDER = frozenset(OPERATIONS) - {"concat"}
"""Free on a device that names only what costs something: it may be older than the other operations."""
Sizes = tuple[int, ...]


@lru_cache(maxsize=1 << 15)
def misfit(op: str, given: Sizes, gives: Sizes, window: Sizes, groups: int, counts: Sizes | None) -> str | None:
    """Return why there can be no such layer, or ``None``. Cached: a search makes the same thousands 100,000 times."""
    kind, (kernel, stride, padding, dilation) = OPERATIONS.get(op), window
    if not len(given) == len(gives) == 3 or min(*given, *gives, kernel, stride, dilation, groups, padding + 1) < 1:
        return "a size of it is less than 1, or its padding less than 0"
    if kind is None:
        told = f"the operation {op!r} is unknown.{close_matches(str(op), OPERATIONS)} Known: {', '.join(OPERATIONS)}"
        return None if counts and len(counts) == 2 and min(counts) >= 0 else told
    found = [*zip(*(_outputs(op == "max_pool", n, *window) for n in given[1:]), strict=True)]
    follow = " or ".join(dict.fromkeys("x".join(map(str, sizes)) for sizes in found if min(sizes) > 0))
    pools, plain = kind == "pooling", kind != "pooling" and op != "conv2d"
    rules = {
        "its counts follow from its shapes": counts is not None,
        "a linear layer's maps are of height and width 1": op == "linear" and {*given[1:], *gives[1:]} != {1},
        "it has neither a window nor groups": plain and (*window, groups) != (1, 1, 0, 1, 1),
        "its input and its output differ in shape": plain and op != "linear" and given != gives,
        f"its {groups} groups do not divide its channels": given[0] % groups or gives[0] % groups,
        "a pooling keeps the channels, and has no groups": pools and (given[0] != gives[0] or groups > 1),
        "its padding is more than half of its window": pools and 2 * padding > kernel,
        "an average pooling has no dilation": op == "avg_pool" and dilation > 1,
        f"its output does not follow from its input and its window: {follow or 'nothing'} would": (
            gives[1:] not in found and (op, kernel) != ("avg_pool", 1)  # which is adaptive
        ),
    }
    return next((why for why, holds in rules.items() if holds), None)


def _outputs(up: bool, size: int, kernel: int, stride: int, padding: int, dilation: int) -> Sizes:
    """Return an output's size, also rounded ``up``: then windows may reach over the edge, but not begin behind it."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    down, rounded = span // stride + 1, -(-span // stride) + 1
    return down, rounded if up and (rounded - 1) * stride < size + padding else down
