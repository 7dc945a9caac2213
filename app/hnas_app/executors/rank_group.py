"""The ranks that torchrun started: each runs the same program, and has its share of every meta-gradient."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hnas.errors import HnasError
from hnas_app.executors.interface import Executor, Work

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

TIMEOUT = timedelta(minutes=10)
"""How long a rank waits for the others: they may read their data, or compile, at different speeds."""
POLL_S = 0.02


class RankGroup(Executor):
    """An executor whose maps are local and whose sums are over all ranks.

    All ranks must make the same calls. In `map_sum` each does its share of the items on ``local``. An all-reduce gives
    all of them the same sums, to the last bit, so each can take the same outer step. The results of a `map`, such as a
    validation, every rank computes for itself. (DistributedDataParallel does not fit: it averages the gradients of
    modules' own parameters, and the meta-gradient is that of a functional call.)

    ``device`` is where sums are added: ``cpu`` over gloo, or a GPU over NCCL. Raises `HnasError` if a rank is lost.
    """

    def __init__(self, local: Executor, device: str = "cpu") -> None:
        import torch.distributed as dist
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        self._local, self._device = local, device
        with _ranks_together():
            store, self.rank, self.ranks = next(rendezvous("env://"))
            name = meet(store, self.rank, self.ranks, TIMEOUT.total_seconds())
            dist.init_process_group(
                "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl",
                timeout=TIMEOUT,
                store=PrefixStore(name, store),
                rank=self.rank,
                world_size=self.ranks,
            )
        self.size = self.ranks * local.size
        self.leads = self.rank == 0

    def put(self, **values: Any) -> None:
        self._local.put(**values)

    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        return self._local.map_unordered(work, items)

    def map_sum(self, work: Work, items: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
        import torch

        shares = dealt(len(items), self.ranks)
        mine, rests = self._local.map_sum(work, [items[i] for i in shares[self.rank]])
        arrays = {name: torch.from_numpy(value) for name, value in mine.items()}
        told = self._gathered({"arrays": _described(arrays), "rests": rests})
        shapes = {name: shape for rank in told for name, shape in rank["arrays"].items()}
        sums = self._summed({n: arrays[n] if n in arrays else _zeros(shapes[n]) for n in sorted(shapes)})
        found: dict[int, Any] = {}
        for share, rank in zip(shares, told, strict=True):
            found |= zip(share, rank["rests"], strict=True)
        return {name: value.numpy() for name, value in sums.items()}, [found[i] for i in range(len(items))]

    def from_leader(
        self, tensors: dict[str, Tensor], told: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
        import torch.distributed as dist

        heard = self._gathered({"tensors": _described(tensors), "told": told} if self.leads else None)[0]
        found = {}
        for name, shape in heard["tensors"].items():
            found[name] = tensors[name].contiguous() if self.leads else _zeros(shape)
            with _ranks_together():
                dist.broadcast(found[name], src=0)
        return found, heard["told"]

    def agree(self, text: str) -> bool:
        """Return whether all ranks have called this with the same text."""
        return len(set(self._gathered(text))) == 1

    def close(self) -> None:
        """End the local workers. The group ends with the process: gloo may abort it if taken apart before."""
        self._local.close()

    def _summed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums over all ranks, which all have these names and shapes; one all-reduce for each type."""
        import torch
        import torch.distributed as dist

        sums: dict[str, Tensor] = {}
        for dtype in sorted({t.dtype for t in tensors.values()}, key=str):
            some = {name: t for name, t in tensors.items() if t.dtype == dtype}
            flat = torch.cat([t.reshape(-1) for t in some.values()]).to(self._device)
            with _ranks_together():
                dist.all_reduce(flat)
            parts = torch.split(flat.cpu(), [t.numel() for t in some.values()])
            sums |= {name: part.view(t.shape) for (name, t), part in zip(some.items(), parts, strict=True)}
        return sums

    def _gathered(self, value: Any) -> list[Any]:
        """Return the value of each rank, as JSON holds it."""
        import torch
        import torch.distributed as dist

        text = json.dumps(value).encode()
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.ranks)]
        with _ranks_together():
            dist.all_gather(lengths, torch.tensor([len(text)]))
        longest = max(int(n) for n in lengths)
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.ranks)]
        with _ranks_together():
            dist.all_gather(texts, torch.frombuffer(bytearray(text.ljust(longest)), dtype=torch.uint8))
        return [json.loads(bytes(found.numpy())) for found in texts]


def _described(tensors: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    return {name: [str(t.dtype).removeprefix("torch."), *t.shape] for name, t in tensors.items()}


def _zeros(described: Sequence[Any]) -> Tensor:
    import torch

    dtype, *shape = described
    return torch.zeros(shape, dtype=getattr(torch, dtype))


def dealt(count: int, ranks: int) -> list[list[int]]:
    """Deal items out, the longest first, to and fro: 0, 1, 1, 0, 0, 1, … so that no rank always gets the longer one."""
    shares: list[list[int]] = [[] for _ in range(ranks)]
    for i in range(count):
        turn, place = divmod(i, ranks)
        shares[place if turn % 2 == 0 else ranks - 1 - place].append(i)
    return shares


@contextmanager
def _ranks_together() -> Iterator[None]:
    """Turn the failure of a collective operation into an `HnasError`."""
    try:
        yield
    except RuntimeError as cause:
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise HnasError(
            f"this rank has lost the others: {lines[0]}",
            hint="the error of the first of them stands above; `torchrun --max-restarts N` goes on from the checkpoint",
        ) from cause


def meet(store: Store, rank: int, ranks: int, timeout_s: float) -> str:
    """Return a name that only the ranks of this start share: a prefix for their keys.

    torchrun keeps one store over all restarts. A rank that looks for another's address there may find that of a dead
    one, and wait for it. The count of restarts is no such name: each machine counts its own.

    Rank 0 writes a new name. Each other rank answers it with a number of its own, and goes on when this number is
    confirmed: under an old name, other numbers were. Raises `RuntimeError` after ``timeout_s`` seconds.
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
