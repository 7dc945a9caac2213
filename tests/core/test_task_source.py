"""Drawing several tasks at once: a subclass's own `sample` must not be passed over for an ancestor's `sample_each`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hnas import Episodes, EpisodeSpec, Seeds
from hnas.task_source import Split
from hnas_app.testing.tiny_tasks import TinyTasks

SPEC = EpisodeSpec(n_way=3, k_shot=1, n_query=2)


class Quick(TinyTasks):
    """Gives no images at all, at once."""

    def sample_each(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        one = self.sample(split, len(generators), spec, generators[0])
        return Episodes(support_x=one.support_x * 0, support_y=one.support_y, query_x=one.query_x, query_y=one.query_y)


class Brighter(Quick):
    def sample(self, *given: Any) -> Episodes:
        one = super().sample(*given)
        return Episodes(support_x=one.support_x + 9, support_y=one.support_y, query_x=one.query_x, query_y=one.query_y)


class BrighterAtOnce(Brighter, Quick):
    sample_each = Quick.sample_each


def drawn(source: TinyTasks) -> Episodes:
    return source.sample_each("train", SPEC, [Seeds(i).numpy("tasks") for i in range(4)])


def test_the_default_is_one_task_of_each_generator() -> None:
    together = drawn(TinyTasks())
    for i in range(4):
        alone = TinyTasks().sample("train", 1, SPEC, Seeds(i).numpy("tasks"))
        assert together[i : i + 1].support_x.equal(alone.support_x)
        assert together[i : i + 1].query_x.equal(alone.query_x)


def test_a_subclass_with_its_own_sample_is_drawn_from_by_it() -> None:
    assert not drawn(Quick()).support_x.any()
    assert drawn(Brighter()).support_x.mean() > 5
    assert not drawn(BrighterAtOnce()).support_x.any()
