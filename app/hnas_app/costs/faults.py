"""Faults of a backend's code, told as such."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hnas.errors import HnasError, PluginError


@contextmanager
def faults_of(what: str) -> Iterator[None]:
    """Turn an exception that was not raised on purpose into a `PluginError` that begins with ``what``.

    Errors of hnas pass unchanged, since their messages say it already; so does an interruption.
    """
    try:
        yield
    except HnasError:
        raise
    except Exception as cause:
        raise PluginError(
            f"{what}: {type(cause).__name__}: {cause}", hint="run again with --debug for the traceback"
        ) from cause
