"""The interface SearchStrategy: which architectures to try next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from hnas.architecture import Architecture
from hnas.cost import Cost
from hnas.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np


@frozen(kw_only=True)
class SearchProblem:
    """What a strategy can see: the space, the constraints and the costs, but neither torch nor tasks."""

    space: SearchSpace
    feasible: Callable[[Architecture], bool]
    """Whether an architecture satisfies every constraint; a table look-up, microseconds."""
    cost: Callable[[Architecture], Cost]
    sample_feasible: Callable[[np.random.Generator], Architecture]
    """Draw a feasible architecture: rejection first, then repair by shrinking."""
    generator: np.random.Generator
    """The only source of a strategy's randomness. A search is resumed by asking again with the same generator."""
    known: tuple[Architecture, ...] = ()
    """Feasible architectures that are known to be good, such as a scaled reference network; for a first batch."""
    share: float = 1.0
    """The share of its batch of new architectures that a strategy has to propose itself, above 0 and at most 1.

    In a sweep, searches for other devices and limits supply the rest: `SearchStrategy.tell` receives their candidates
    too. A strategy that still proposes a whole batch is correct too, but costs more.
    """
    max_train: int = 0
    """The most iterations that `Ask.train` may ask for: those of a re-training; 0 in a search for a user's pictures."""
    proposals: Callable[[int], Sequence[Architecture]] | None = None
    """Return the learner's proposals for the first so many tasks of a stream of validation tasks, one for each.

    One that breaks a constraint is moved to a near architecture that keeps it. Each is computed once. ``None`` if the
    learner proposes nothing; see `SearchStrategy.needs_proposals`.
    """


@frozen(kw_only=True)
class Ask:
    """The architectures to score next. All of them must be feasible.

    ``keep=k`` says that only the k best matter; only then may the evaluator stop scoring an architecture early.

    ``train=n`` asks for scores after a short training: each architecture is trained alone for the first n iterations of
    a re-training (``[retrain]``), from the super-net's weights. Longer trainings of it go on from shorter ones.
    """

    architectures: tuple[Architecture, ...]
    keep: int | None = None
    train: int = 0


@frozen(kw_only=True)
class Scored:
    """An architecture with its fitness: the mean loss over the iteration's tasks (lower is better), and its cost.

    ``bound`` marks a score that was stopped early: the true loss is at least this. ``train`` is that of the `Ask`: with
    0 it is a score of the super-net's weights. A network whose training diverged has an infinite loss.
    """

    arch: Architecture
    loss: float
    accuracy: float
    cost: Cost
    bound: bool = False
    train: int = 0


class SearchStrategy(ABC):
    """Proposes architectures and learns from their scores. The core drives it: start, then ask and tell in turn."""

    needs_proposals: bool = False
    """Whether it cannot do without `SearchProblem.proposals`; a learner without them is refused before any work."""

    penalty: float = 0.0
    """Multiplies the expected cost, over the limits, that the learner adds to its loss for proposals; 0 or more."""

    @abstractmethod
    def start(self, problem: SearchProblem) -> None:
        """Begin a search. Called once, before anything else; forgets an earlier search."""

    @abstractmethod
    def ask(self) -> Ask | None:
        """Return the next batch to score, or ``None`` when the search is over.

        Must depend only on the problem and on the scores received, so that a search can be replayed.
        """

    @abstractmethod
    def tell(self, scored: Sequence[Scored]) -> None:
        """Receive the scores of the last batch, in the order in which it was asked.

        In a sweep, scores of feasible architectures that other searches asked for, with an equal ``train``, may follow
        those of the batch.
        """

    @property
    @abstractmethod
    def iterations(self) -> int:
        """The number of batches that the search will ask for; used for progress and time left."""
