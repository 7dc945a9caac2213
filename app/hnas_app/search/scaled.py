"""The reference network scaled in width until it satisfies the limits: what a user would do by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hnas.architecture import Architecture
from hnas.space import SearchSpace


def scaled(
    space: SearchSpace, reference: Architecture, feasible: Callable[[Architecture], bool]
) -> Architecture | None:
    """Return the widest network that differs from ``reference`` in width only and is ``feasible``.

    All layers have one width, the largest that fits; then single layers get the next larger one if that fits too,
    output side first, since widths cost less in small maps. ``None`` if no width fits, or the space names no widths.
    """
    active = space.options(reference)
    widths = {
        c.name: sorted(o for o in c.options if isinstance(o, int | float))
        for c in space.choices
        if c.name in space.width_choices() and c.name in active
    }

    def network(options: Mapping[str, float]) -> Architecture:
        return space.architecture(**{**active, **options})

    for width in sorted({w for options in widths.values() for w in options}, reverse=True):
        found = {name: max((w for w in options if w <= width), default=options[0]) for name, options in widths.items()}
        if feasible(network(found)):
            break
    else:
        return None
    for name in reversed(widths):
        wider = next((found | {name: w} for w in widths[name] if w > found[name]), found)
        if feasible(network(wider)):
            found = wider
    return network(found)
