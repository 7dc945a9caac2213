"""The record of a search, ``search.jsonl``: one line for each finished iteration."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType

from attrs import frozen

from hnas.architecture import Architecture
from hnas.cost import Cost
from hnas.errors import DataError
from hnas.strategy import Ask, Scored
from hnas.toolkit.codec import from_json, to_json

SCHEMA = 1


class SearchTrace:
    """Reads the iterations that a file holds, and appends to it. Use it as a context manager, or `close` it.

    A last line that was cut short, by a kill or a power cut, is dropped from the file; other damage is a `DataError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._iterations, self._end = self._read(path.read_bytes())
            os.ftruncate(self._file, self._end)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> SearchTrace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """Return the number of iterations on record."""
        return len(self._iterations)

    def close(self) -> None:
        """Close the file. What was appended is on disk already."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def recorded(self, iteration: int, ask: Ask) -> list[Scored] | None:
        """Return the scores on record for exactly what is asked, or ``None`` where the iteration is yet to be scored.

        Raises `DataError` where the record is of other architectures. A record with more of them scored in full
        (``keep``) than asked for serves as well.
        """
        if iteration >= len(self._iterations):
            return None
        scored, keep = self._iterations[iteration]
        if tuple(s.arch for s in scored) != ask.architectures:
            raise self._other(iteration, "its architectures are not those that the strategy asks for")
        if keep is not None and (ask.keep is None or ask.keep > keep):
            raise self._other(iteration, f"only its best {keep} were scored in full, {ask.keep or 'all'} are asked for")
        return scored

    def append(self, iteration: int, ask: Ask, scored: Sequence[Scored]) -> None:
        """Write the scores of the next iteration to disk, as a whole line or not at all. Raises `DataError`."""
        if iteration != len(self._iterations):
            raise ValueError(f"{self._path} holds {len(self._iterations)} iterations; {iteration} is not the next")
        line = (
            json.dumps(to_json(_Line.of(iteration, ask, scored)), separators=(",", ":"), allow_nan=False).encode()
            + b"\n"
        )
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("the line was written in part only; is the disk full?")
            os.fdatasync(self._file)
        except OSError as cause:
            os.ftruncate(self._file, self._end)
            raise DataError(
                f"{self._path}: cannot record iteration {iteration}: {cause}",
                hint="the iterations before are safe; make room and run the same command with --run-dir again",
            ) from cause
        self._end += len(line)
        self._iterations.append((list(scored), ask.keep))

    def _read(self, data: bytes) -> tuple[list[tuple[list[Scored], int | None]], int]:
        """Return the iterations in ``data`` and the length of their lines."""
        iterations: list[tuple[list[Scored], int | None]] = []
        end = 0
        lines = data.splitlines(keepends=True)
        for number, line in enumerate(lines):
            try:
                record = json.loads(line if line.endswith(b"\n") else b"cut short")
            except ValueError as cause:
                if number == len(lines) - 1:
                    break
                record = cause
            try:
                found = from_json(record, _Line, "the line")
                if found.iteration != number:
                    raise ValueError(f"iteration {found.iteration}")
                iterations.append((found.scored(), found.keep))
            except (ValueError, DataError) as cause:
                raise DataError(
                    f"{self._path}, line {number + 1}: not the record of iteration {number}: {cause}",
                    hint="the file is damaged or was edited; move it away to search again from the start",
                ) from cause
            end += len(line)
        return iterations, end

    def _other(self, iteration: int, why: str) -> DataError:
        return DataError(
            f"{self._path}, line {iteration + 1}: the search on record cannot go on: {why}",
            hint="it was made with other settings, or edited; move the file away to search again from the start",
        )


@frozen(kw_only=True)
class _Line:
    """An iteration: what was asked, and each architecture's scores and costs, by column."""

    schema: int = SCHEMA
    iteration: int
    keep: int | None
    space: str
    genes: tuple[tuple[int, ...], ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    bound: tuple[bool, ...]
    cost: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, iteration: int, ask: Ask, scored: Sequence[Scored]) -> _Line:
        return cls(
            iteration=iteration,
            keep=ask.keep,
            space=scored[0].arch.space,
            genes=tuple(s.arch.genes for s in scored),
            loss=tuple(float(s.loss) for s in scored),
            accuracy=tuple(float(s.accuracy) for s in scored),
            bound=tuple(s.bound for s in scored),
            cost={m: tuple(float(s.cost[m]) for s in scored) for m in scored[0].cost.values},
        )

    def scored(self) -> list[Scored]:
        """Return the scores. Raises `ValueError` if they are none, or not numbers."""
        if any(map(math.isnan, chain(self.loss, self.accuracy, *self.cost.values()))):
            raise ValueError("a score that is not a number")
        costs = [dict(zip(self.cost, c, strict=True)) for c in zip(*self.cost.values(), strict=True)]
        rows = zip(self.genes, self.loss, self.accuracy, self.bound, costs, strict=True)
        found = [
            Scored(arch=Architecture(self.space, genes), loss=x, accuracy=y, cost=Cost(values=cost), bound=bound)
            for genes, x, y, bound, cost in rows
        ]
        if not found:
            raise ValueError("no architecture")
        return found
