"""A super-net that serves fewer classes than it was trained for: the first outputs of its head."""

from __future__ import annotations

import attrs

from hnas.errors import ConfigError, DataError
from hnas.learner import State
from hnas_app.training.setup.setup import Setup
from hnas_app.training.setup.subnet import first_part


def with_classes(setup: Setup, state: State, n_way: int) -> tuple[Setup, State]:
    """Return the set-up for ``n_way`` classes, and the part of the set-up's ``state`` that it needs.

    Only a super-net's head depends on the number of classes; its outputs are in the order of the labels. The first
    ``n_way`` are kept, with the learner's values for them. No space has to name its head: tensors are cut to their
    shapes in a fresh state of fewer classes. Raises `ConfigError` if more classes are asked for. A set-up of
    `Setup.any_n_way` needs all of its state, whatever the number.
    """
    if setup.any_n_way:
        return attrs.evolve(setup, n_way=n_way), state
    if n_way > setup.n_way:
        raise ConfigError(
            f"the super-net was trained for {setup.n_way} classes, {n_way} are asked for",
            hint=f"train one for as many: hnas meta-train --set task.n_way={n_way}",
        )
    fewer = attrs.evolve(setup, n_way=n_way)
    fresh = fewer.fresh_state("fewer-classes")
    parts = {}
    for name, like in fresh.items():
        known = state.get(name)
        part = first_part(known, like)
        if part is None:
            found = "nothing" if known is None else f"a tensor of {tuple(known.shape)}"
            raise DataError(
                f"the super-net's checkpoint has {found} as {name}, expected at least {tuple(like.shape)}",
                hint="it is of another space, learner or set of options",
            )
        parts[name] = part
    return fewer, parts
