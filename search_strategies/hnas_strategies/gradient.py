"""Search by gradients: the learner proposes architectures by its architecture weights, and the best is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import frozen

from hnas import Ask, ConfigError, Scored, SearchProblem, SearchStrategy
from hnas.settings import at_least_0, positive, setting


@frozen(kw_only=True)
class GradientOptions:
    """Options of `Gradient`."""

    tasks: int = setting(20, "validation tasks, for each of which the learner proposes an architecture", positive)
    candidates: int = setting(
        20, "architectures that are scored at most, of those that most tasks have in common", positive
    )
    penalty: float = setting(
        0.0, "multiplies the expected cost, over the limits, that the learner adds to its loss; 0: none", at_least_0
    )


class Gradient(SearchStrategy):
    """Score what the learner proposes for some tasks, once, and in full: the search itself is the learner's.

    Proposals keep the limits: one that breaks them comes as a near architecture, see `SearchProblem.proposals`. Those
    of more tasks come first, then those of earlier tasks.
    """

    needs_proposals = True

    def __init__(self, options: GradientOptions) -> None:
        self._options, self.penalty = options, options.penalty

    @property
    def iterations(self) -> int:
        return 1

    def start(self, problem: SearchProblem) -> None:
        if problem.proposals is None:
            raise ConfigError(
                "the strategy 'gradient' takes what the learner proposes, and this one proposes nothing",
                hint="choose a learner that searches by architecture weights, such as t-nas",
            )
        self._problem, self._done = problem, False

    def ask(self) -> Ask | None:
        if self._done:
            return None
        self._done = True
        assert self._problem.proposals is not None
        found = Counter(self._problem.proposals(self._options.tasks)).most_common(self._options.candidates)
        return Ask(architectures=tuple(dict.fromkeys([*self._problem.known, *(arch for arch, _ in found)])))

    def tell(self, scored: Sequence[Scored]) -> None:
        """Learn nothing: there is one batch."""
