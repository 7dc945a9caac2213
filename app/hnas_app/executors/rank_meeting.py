"""How ranks find each other when torchrun starts them again: its store still holds what the last ones wrote there."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

POLL_S = 0.02


def meet(store: Store, rank: int, ranks: int, timeout_s: float) -> str:
    """Return a name that the ranks of this start share, and no earlier ones did: a prefix for what they write.

    torchrun keeps one store over all restarts. A rank that looked for another's address there would find, now and then,
    that of one which is dead, and wait for it. The count of restarts is no such name: each machine counts its own.

    Rank 0 writes a new name, each other one answers it with a number of its own, and goes on when it sees this number
    confirmed: an old name was confirmed to others. Raises `RuntimeError` after ``timeout_s`` seconds.
    """
    end = time.monotonic() + timeout_s
    own = secrets.token_hex(8)
    if rank == 0:
        store.set("hnas/name", own)
        confirmed = [own, *(_awaited(store, f"hnas/{own}/{other}", end) for other in range(1, ranks))]
        store.set(f"hnas/{own}/all", json.dumps(confirmed))
        return own
    while True:
        name = _awaited(store, "hnas/name", end)
        store.set(f"hnas/{name}/{rank}", own)
        while _awaited(store, "hnas/name", end) == name:
            if store.check([f"hnas/{name}/all"]) and json.loads(store.get(f"hnas/{name}/all"))[rank] == own:
                return name
            _wait(end, f"rank 0 to confirm rank {rank}")


def _awaited(store: Store, key: str, end: float) -> str:
    while not store.check([key]):
        _wait(end, key)
    return bytes(store.get(key)).decode()


def _wait(end: float, what: str) -> None:
    if time.monotonic() > end:
        raise RuntimeError(f"waited too long for {what}")
    time.sleep(POLL_S)
