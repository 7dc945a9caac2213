"""A task source that draws many tasks at once, of one generator or of many."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from hnas.episode import Episodes, EpisodeSpec
from hnas.task_source import Split, TaskSource


class DrawnSource(TaskSource):
    """Both ways of drawing, by one method of the subclass."""

    @abstractmethod
    def _tasks(
        self, split: Split, generators: Sequence[np.random.Generator], n_tasks: int, spec: EpisodeSpec
    ) -> Episodes:
        """Draw ``n_tasks`` tasks from each generator; one's do not depend on the others."""

    def sample(self, split: Split, n_tasks: int, spec: EpisodeSpec, generator: np.random.Generator) -> Episodes:
        return self._tasks(split, [generator], n_tasks, spec)

    def sample_each(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        return self._tasks(split, generators, 1, spec)
