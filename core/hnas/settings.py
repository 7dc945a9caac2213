"""Fields of options classes: a default, the help that the command line shows, and what is valid."""

from __future__ import annotations

from typing import Any

from attrs import field, validators

positive = validators.gt(0)
at_least_0 = validators.ge(0)
fraction = validators.and_(validators.ge(0), validators.le(1))

MOST = 10**12
"""The largest number, in either direction, that an option takes unless `setting` says otherwise."""


def at_most(most: float) -> Any:
    """Return a validator that refuses larger numbers and NaN, in lists too; it lets the default of a field pass."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        for number in value if isinstance(value, list | tuple) and value != attribute.default else [value]:
            if isinstance(number, int | float) and number != attribute.default and not abs(number) <= most:
                raise ValueError(f"'{attribute.name}' must be a finite number of at most {most:.15g}: {number!r}")

    return check


def one_of(*options: Any) -> Any:
    """Return a validator that admits the values given."""
    return validators.in_(options)


def setting(default: Any, help: str, *checks: Any, most: float = MOST, after_training: bool = False) -> Any:
    """Make a field of an options class, with attrs validators. Numbers are finite, unless ``most`` is `math.inf`.

    Options of a space or a learner belong to the super-net that was trained with them. With ``after_training`` a run
    that starts from its weights may have another value: they mean the same with all of them.
    """
    metadata = {"help": help, "most": most, "after_training": after_training}
    return field(default=default, metadata=metadata, validator=[at_most(most), *checks])
