"""The result of a run for the user's own pictures: what was chosen, how it does beside raw pixels, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hnas.architecture import Architecture, Option
from hnas.cost import Cost, Metric
from hnas.errors import first_few

if TYPE_CHECKING:
    from numpy.typing import NDArray

NETWORK = "network"
LEVEL = 0.05
"""A difference that chance makes less often is one."""
MOST_CLASSES = 12
"""Classes of which a table of all confusions is shown; of more, the most frequent ones."""
Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
"""Head and rows."""


@frozen(kw_only=True)
class Tally:
    """How many images were classified right."""

    right: int
    of: int

    def __str__(self) -> str:
        return f"{self.right} of {self.of} right ({100 * self.right / self.of:.1f} %)"

    @classmethod
    def of_labels(cls, labels: NDArray[Any], truth: NDArray[Any]) -> Tally:
        """Count the labels that are right."""
        return cls(right=int((labels == truth).sum()), of=len(truth))


@frozen(kw_only=True)
class Rival:
    """A classifier of raw pixels beside the network."""

    name: str
    held_out: Tally | None
    query: Tally | None
    network_only: int
    """Pictures that only the network gets right: of ``query/``, else those held out."""
    rival_only: int
    """Those that only this classifier gets right."""

    @property
    def p(self) -> float:
        """The probability that two equally good classifiers differ so much: the exact sign test, two-sided."""
        n, least = self.network_only + self.rival_only, min(self.network_only, self.rival_only)
        return float(min(1.0, 2 * sum(comb(n, i) for i in range(least + 1)) / 2**n))

    @property
    def verdict(self) -> str:
        """``worse`` or ``better`` than the network, or that it ties with it."""
        if self.p > LEVEL:
            return "ties"
        return "better" if self.rival_only > self.network_only else "worse"


@frozen(kw_only=True)
class PictureResult:
    """The network for a user's task. Every image was classified alone, with the statistics of the support images."""

    classes: tuple[str, ...]
    k_shot: int
    arch: Architecture
    options: Mapping[str, Option]
    cost: Cost
    metrics: tuple[Metric, ...]
    limits: tuple[str, ...]
    fitness: str
    """The criterion that the architecture was chosen by."""
    loss: float
    """Its fitness, nats."""
    retrained: bool
    """Whether the network was trained alone before it was adapted, or has the super-net's weights."""
    held_out: Tally | None
    """Labelled pictures, classified by networks that were adapted to the others; the choice saw them, too."""
    query: Tally | None
    """The pictures in ``query/``."""
    shots: tuple[int, ...] = ()
    """The number of labelled pictures of each class; ``k_shot`` is the largest. Empty in results of older versions."""
    steps: int | None = None
    """The number of adaption steps that was chosen by the held-out pictures; ``None``: the learner's own."""
    rivals: tuple[Rival, ...] = ()
    """What needs no network, on the same pictures."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """How many pictures of a class (row) the network took for each class: of ``query/``, else those held out."""
    schema: int = field(default=2, metadata={"unsealed": 1})


def rivals_table(result: PictureResult) -> Table:
    """Return how many pictures the network gets right, and beside it what raw pixels do."""
    rows = [("network", _short(result.held_out), _short(result.query), "")]
    for rival in result.rivals:
        verdict = f"{rival.verdict}, p {rival.p:.2g}"
        rows.append((f"pixels: {rival.name}", _short(rival.held_out), _short(rival.query), verdict))
    tested = [0, *(i for i, tally in ((1, result.held_out), (2, result.query)) if tally is not None), 3]
    head = ("", "held out", "query", "against it")
    return tuple(head[i] for i in tested), [tuple(row[i] for i in tested) for row in rows]


def remarks(result: PictureResult) -> list[str]:
    """Return what must be known to read the numbers of `rivals_table`."""
    if not result.rivals:
        return ["no picture was left to test with: put some into query/CLASS/, or give more than one of each class"]
    found = []
    if result.held_out is not None:
        found.append("the choice saw the held-out pictures, so expect a little less")
    if ties := [r.name for r in result.rivals if r.verdict != "worse"]:
        found.append(
            f"{', '.join(ties)} on raw pixels: no worse than the network, as far as these pictures show (sign test); "
            "more of them in query/CLASS/ show smaller differences"
        )
    return found


def confusion_table(result: PictureResult) -> tuple[str, Table]:
    """Return how often the network took a class for another, and what that counts: all, or most frequent first."""
    of, counts = "query" if result.query is not None else "held-out", result.confusion
    if len(counts) > MOST_CLASSES:
        wrong = [(n, a, b) for a, row in enumerate(counts) for b, n in enumerate(row) if n and a != b]
        worst = sorted(wrong, key=lambda r: -r[0])[:MOST_CLASSES]
        rows = [(n, result.classes[a], result.classes[b]) for n, a, b in worst]
        return f"{of} pictures that were taken for others, most frequent first", (("pictures", "of", "taken for"), rows)
    numbers = tuple(f"#{i + 1}" for i in range(len(counts)))
    named = [f"{number} {name}" for number, name in zip(numbers, result.classes, strict=True)]
    table = [(name, *row) for name, row in zip(named, counts, strict=True) if any(row)]
    absent = [name for name, row in zip(named, counts, strict=True) if not any(row)]
    without = f" (none of {first_few(absent)})" if absent else ""
    return f"{of} pictures of each class (row), by the class that they were taken for{without}", (
        ("class", *numbers),
        table,
    )


def _short(tally: Tally | None) -> str:
    return "" if tally is None else f"{tally.right}/{tally.of} ({100 * tally.right / tally.of:.1f} %)"
