"""The reference network scaled in width until it satisfies the limits: what a user would do by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hnas.architecture import Architecture
from hnas.errors import short
from hnas.space import SearchSpace
from hnas_app.executors.plugin_exit import wrong


def scaled(
    space: SearchSpace, reference: Architecture, feasible: Callable[[Architecture], bool]
) -> Architecture | None:
    """Return the widest network that differs from ``reference`` in width only and is ``feasible``.

    All layers have one width, the largest that fits; then single layers get the next larger one if that fits too,
    output side first, since widths cost less in small maps. ``None`` if no width fits, or the space names no widths.
    """
    active = space.options(reference)
    widths = {name: options for name, options in widths_of(space).items() if name in active}

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


def widths_of(space: SearchSpace) -> dict[str, list[float]]:
    """Return the options of each choice of a width, smallest first; the choices input side first.

    Raises `PluginError` if the space names something else.
    """
    widths = {c.name: sorted(o for o in c.options if isinstance(o, int | float)) for c in space.choices}
    numbers = {c.name for c in space.choices if all(type(o) in (int, float) for o in c.options)}
    named = space.width_choices()
    strange = [name for name in named if name not in numbers] if isinstance(named, list | tuple) else named
    if strange != []:
        raise wrong(space, "width_choices", short(strange), "names of choices whose options are numbers")
    return {name: widths[name] for name in named}
