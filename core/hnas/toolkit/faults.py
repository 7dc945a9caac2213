"""What happens when a plugin's code raises what it did not mean to: the user is told whose code, and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hnas.errors import HnasError, PluginError


@contextmanager
def faults_of(what: str) -> Iterator[None]:
    """Turn an exception that was not raised on purpose into a `PluginError` that begins with ``what``.

    Errors of hnas pass as they are, since their message says it; so does an interruption.
    """
    try:
        yield
    except HnasError:
        raise
    except Exception as cause:
        raise PluginError(
            f"{what}: {type(cause).__name__}: {cause}", hint="run again with --debug for the traceback"
        ) from cause
