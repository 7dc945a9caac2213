"""The message of a failed conformance test: the expected and the actual result, and how to mend it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
_LONGEST = 600  # characters of what was seen


def expect(holds: bool, expected: str, seen: object, then: str) -> None:
    """Fail the test unless ``holds``. A function, since ``assert`` does nothing under ``python -O``."""
    __tracebackhide__ = True
    if not holds:
        text = seen if isinstance(seen, str) else repr(seen)
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        raise AssertionError(f"expected {expected}\nseen: {shown}\nwhat to do: {then}")


def expect_none(found: Sequence[str], expected: str, then: str) -> None:
    """Fail the test if anything was found that is not as ``expected``."""
    __tracebackhide__ = True
    expect(not found, expected, f"others: {found}", then)


@contextmanager
def ending(expected: str, then: str, *admitted: type[Exception]) -> Iterator[list[str]]:
    """Fail the test if the block ends by an error that is not ``admitted``, or puts anything into the list."""
    __tracebackhide__ = True
    seen: list[str] = []
    try:
        yield seen
    except admitted:
        pass
    except Exception as cause:
        seen.append(f"{type(cause).__name__}: {cause}")
    expect(not seen, expected, ", ".join(seen), then)


def not_applicable(reason: str) -> NoReturn:
    """Skip the test, because it does not apply to the plugin."""
    import pytest

    pytest.skip(reason)


def sent_to_a_worker(thing: T, what: str) -> T:
    """Return a copy of ``thing`` as a worker process gets it, or fail the test."""
    __tracebackhide__ = True
    buffer = io.BytesIO()
    then = (
        "keep no lambda, open file or connection in it: open what is needed at first use, in a cached property "
        "that `__getstate__` leaves out, and define its class at the top of a module"
    )
    with ending(f"a {what} that can be sent to a worker process", then):
        ForkingPickler(buffer).dump(thing)
        received: T = ForkingPickler.loads(buffer.getvalue())
    return received


def agree(a: Tensor, b: Tensor, rtol: float = 0.0, atol: float = 0.0) -> bool:
    """Return whether two tensors have the same shape and equal values, within the tolerance given."""
    import torch

    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=rtol, atol=atol, equal_nan=True)


def unequal(a: dict[str, Tensor], b: dict[str, Tensor], rtol: float = 0.0, atol: float = 0.0) -> list[str]:
    """Name the tensors that two dictionaries do not have in common, or not with equal values."""
    return sorted(set(a) ^ set(b)) + [k for k in a if k in b and not agree(a[k], b[k], rtol, atol)]


class GlobalRandomness:
    """Notices whether the generators that a process shares were used: results then depend on what ran before."""

    def __init__(self) -> None:
        self._before = self._states()

    def expect_untouched(self, what: str) -> None:
        """Fail the test if a global generator has moved on since this was made."""
        __tracebackhide__ = True
        names = [name for name, state in self._states().items() if state != self._before[name]]
        expect(
            not names,
            f"{what} to draw from the generator that it is given only",
            f"it drew from the global generator of {', '.join(names)}",
            "replace calls such as random.random(), numpy.random.rand() and torch.randn() by those of the generator",
        )

    @staticmethod
    def _states() -> dict[str, Any]:
        import random

        import numpy as np
        import torch

        kind, keys, *rest = np.random.get_state(legacy=True)
        return {
            "random": random.getstate(),
            "numpy": (kind, np.asarray(keys).tobytes(), *rest),
            "torch": torch.get_rng_state().numpy().tobytes(),
        }
