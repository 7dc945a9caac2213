"""The record of a search, ``search.jsonl``: one line for each finished iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from attrs import field, frozen

from hnas.architecture import Architecture
from hnas.cost import Cost
from hnas.errors import DataError
from hnas.strategy import Ask, Scored
from hnas.toolkit.codec import from_json, to_json
from hnas.toolkit.files import check_seal, sealed
from hnas_app.trackers.json_lines import JsonLines

SCHEMA, UNSEALED = 2, 1
"""The schema of a line, and the last without checksums."""
_DAMAGED = "the file is damaged or was edited; move it away to search again from the start"


class SearchTrace:
    """Reads the iterations that a file holds, and appends to it.

    A last line that was cut short, by a kill or a power cut, is dropped from the file; other damage is a `DataError`.
    """

    def __init__(self, path: Path) -> None:
        self._log = JsonLines(path, compact=True)
        try:
            values = self._log.recover()
        except DataError as cause:
            raise DataError(str(cause), hint=_DAMAGED) from cause
        self._iterations = [_read(path, value, i) for i, value in enumerate(values)]

    def __len__(self) -> int:
        """Return the number of iterations on record."""
        return len(self._iterations)

    def recorded(self, iteration: int, ask: Ask) -> list[Scored] | None:
        """Return the scores on record for exactly this ask, or ``None`` if the iteration is yet to be scored.

        Raises `DataError` if the record is of other architectures. A record with more of them scored in full (``keep``)
        than asked for serves as well.
        """
        if iteration >= len(self._iterations):
            return None
        scored, keep = self._iterations[iteration]
        if scored[0].train != ask.train:
            what = f"its networks were trained for {scored[0].train} iterations, {ask.train} are asked for"
            raise self._other(iteration, what)
        if tuple(s.arch for s in scored) != ask.architectures:
            raise self._other(iteration, "its architectures are not those that the strategy asks for")
        if keep is not None and (ask.keep is None or ask.keep > keep):
            raise self._other(iteration, f"only its best {keep} were scored in full, {ask.keep or 'all'} are asked for")
        return scored

    def append(self, iteration: int, ask: Ask, scored: Sequence[Scored]) -> None:
        """Write the scores of the next iteration to disk, as a whole line or not at all. Raises `DataError`."""
        if iteration != len(self._iterations):
            raise ValueError(f"{self._log.path} holds {len(self._iterations)} iterations; {iteration} is not the next")
        try:
            self._log.append(sealed(to_json(_Line.of(iteration, ask, scored))), sync=True)
        except DataError as cause:
            raise DataError(
                f"cannot record iteration {iteration}: {cause}",
                hint="the iterations before are safe; make room and run the same command with --run-dir again",
            ) from cause
        self._iterations.append((list(scored), ask.keep))

    def _other(self, iteration: int, why: str) -> DataError:
        return DataError(
            f"{self._log.path}, line {iteration + 1}: the search on record cannot go on: {why}",
            hint="it was made with other settings, or edited; move the file away to search again from the start",
        )


def recorded(path: Path) -> list[list[Scored]]:
    """Return the scores of each iteration on record, and write nothing. Raises `DataError` if a line is damaged.

    A last line that was cut short is left out, and a file that is not there has no iterations.
    """
    return [_read(path, value, i)[0] for i, value in enumerate(JsonLines(path).read())]


def _read(path: Path, value: object, iteration: int) -> tuple[list[Scored], int | None]:
    try:
        current = isinstance(value, Mapping) and value.get("schema", SCHEMA) == SCHEMA
        check_seal(value, "the line", needed=current)
        line = from_json(value, _Line, "the line")
        if line.iteration != iteration:
            raise ValueError(f"iteration {line.iteration}")
        return line.scored(), line.keep
    except (ValueError, DataError) as cause:
        raise DataError(
            f"{path}, line {iteration + 1}: not the record of iteration {iteration}: {cause}", hint=_DAMAGED
        ) from cause


@frozen(kw_only=True)
class _Line:
    """An iteration: the ask, and each architecture's scores and costs, by column."""

    schema: int = field(default=SCHEMA, metadata={"unsealed": UNSEALED})
    iteration: int
    keep: int | None
    space: str
    genes: tuple[tuple[int, ...], ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    bound: tuple[bool, ...]
    cost: Mapping[str, tuple[float, ...]]
    train: int = 0

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
            train=int(ask.train),
        )

    def scored(self) -> list[Scored]:
        """Return the scores. Raises `ValueError` if there are none, or if they are not numbers."""
        if any(map(math.isnan, chain(self.loss, self.accuracy, *self.cost.values()))):
            raise ValueError("a score that is not a number")
        costs = [dict(zip(self.cost, c, strict=True)) for c in zip(*self.cost.values(), strict=True)]
        rows = zip(self.genes, self.loss, self.accuracy, self.bound, costs, strict=True)
        found = [
            Scored(
                arch=Architecture(self.space, genes),
                loss=x,
                accuracy=y,
                cost=Cost(values=cost),
                bound=bound,
                train=self.train,
            )
            for genes, x, y, bound, cost in rows
        ]
        if not found:
            raise ValueError("no architecture")
        return found
