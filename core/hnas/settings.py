"""Fields of options classes: a default, the help that the command line shows, and what is valid."""

from __future__ import annotations

from typing import Any

from attrs import field, validators

positive = validators.gt(0)
at_least_0 = validators.ge(0)
fraction = validators.and_(validators.ge(0), validators.le(1))


def one_of(*options: Any) -> Any:
    """Return a validator that admits the values given."""
    return validators.in_(options)


def setting(default: Any, help: str, *checks: Any, after_training: bool = False) -> Any:
    """Make a field of an options class. ``checks`` are attrs validators; a type is checked when it is read.

    Options of a space or a learner belong to the super-net that was trained with them. With ``after_training`` a run
    that starts from its weights may have another value: they mean the same with all of them.
    """
    return field(default=default, metadata={"help": help, "after_training": after_training}, validator=list(checks))
