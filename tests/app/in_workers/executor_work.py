"""Work for worker processes. It stands in a module of its own, which they can import: test modules they cannot."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hnas.errors import DataError

Values = Mapping[str, Any]


def double(values: Values, item: int) -> int:
    return 2 * item


def look(values: Values, item: str) -> Any:
    return values.get(item)


def sleep(values: Values, seconds: float) -> tuple[float, int]:
    time.sleep(seconds)
    return seconds, os.getpid()


def process(values: Values, item: Any) -> dict[str, Any]:
    import torch

    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS")
    return {"pid": os.getpid(), "threads": torch.get_num_threads(), **{n: os.environ.get(n) for n in names}}


def fail(values: Values, item: str) -> None:
    raise ValueError(f"nothing doing with {item}")


def fail_for_the_user(values: Values, item: str) -> None:
    raise DataError(f"{item} is damaged", hint="fetch it again")


class Awkward(Exception):
    """Cannot be pickled: its arguments are not those that it was made of."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")


def fail_awkwardly(values: Values, item: str) -> None:
    raise Awkward(item, "too awkward")


def return_a_function(values: Values, item: Any) -> Any:
    return lambda: item


def die_once(values: Values, item: tuple[str, int]) -> int:
    """Kill this process in the middle of the item, unless that has been done before."""
    flag, result = Path(item[0]), item[1]
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def die_of(values: Values, item: str) -> str:
    if item == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "exit":
        os._exit(3)
    if item == "sys.exit":
        sys.exit(0)
    if item == "end of file":
        raise EOFError("of the file that the item reads")
    return item


class Counted:
    """Counts how often it is pickled."""

    pickled = 0

    def __getstate__(self) -> dict[str, Any]:
        Counted.pickled += 1
        return {}


def parts(values: Values, item: Mapping[str, float]) -> tuple[dict[str, Any], int]:
    import numpy as np

    return {name: np.full(2, value, np.float32) for name, value in item.items()}, len(item)


def scalars(values: Values, item: float) -> tuple[dict[str, Any], None]:
    import numpy as np

    return {"a": np.array(item)}, None


class Counter:
    """Counts as one does who thinks that nobody else is here."""

    def __init__(self) -> None:
        self.count = 0


def count_slowly(values: Values, item: Any) -> tuple[int, int]:
    counter: Counter = values["counter"]
    before = counter.count
    time.sleep(0.05)
    counter.count = before + 1
    return threading.get_ident(), counter.count


def fail_or_sleep(values: Values, item: str | float) -> None:
    if isinstance(item, str):
        fail(values, item)
    else:
        time.sleep(item)


def ones(values: Values, factor: int) -> tuple[dict[str, Any], int]:
    """Return arrays large enough to be shared where that is possible."""
    import numpy as np

    return {"ones": np.full(1 << 15, float(factor))}, factor


class Readying:
    """A value that prepares a number of times while its worker waits."""

    def __init__(self, times: int) -> None:
        self.left, self.done = times, 0

    def prepare(self) -> bool:
        self.done += self.left > 0
        self.left = max(0, self.left - 1)
        return self.left > 0


class Placed:
    """An item that has a place."""

    def __init__(self, place: int) -> None:
        self.place = place


def prepared(values: Values, item: Any) -> tuple[int, int]:
    """Return how often the worker has prepared, and its process."""
    time.sleep(0.1)  # so that the other worker gets the other item
    return values["readying"].done, os.getpid()


_STAY: list[bytes] = []


def crumble(values: Values, megabytes: int) -> int:
    """Free 200 MB in blocks of this size, with bytes between them that stay; return the resident bytes before that."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    blocks = []
    for _ in range(200 // megabytes):
        blocks.append(bytearray(megabytes << 20))
        _STAY.append(bytes(60_000))
    return pages * os.sysconf("SC_PAGE_SIZE")
