"""Tasks drawn ahead: the same ones, those that are likely, and no more than those."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import attrs
import pytest
import torch

from hnas import DataError, Episodes, EpisodeSpec
from hnas_app.training.setup.prefetch import Prefetcher, Stream

TRAINING = Stream(split="train", purpose="tasks", spec=EpisodeSpec(n_way=1, k_shot=1, n_query=1), counter=(0,))


def at(count: int) -> Stream:
    return attrs.evolve(TRAINING, counter=(count,))


class Drawing:
    """Draws tasks that show which they are, and keeps what it drew: (count, index, thread)."""

    def __init__(self) -> None:
        self.drawn: list[tuple[int, int, str]] = []

    def __call__(self, stream: Stream, indices: Sequence[int]) -> Episodes:
        self.drawn += [(*stream.counter, i, threading.current_thread().name) for i in indices]
        shown = torch.tensor([[1000 * stream.counter[0] + i] for i in indices])
        return Episodes(support_x=shown.float(), support_y=shown, query_x=shown.float(), query_y=shown)

    def of(self, count: int) -> list[int]:
        return [i for c, i, _ in self.drawn if c == count]


def shown(episodes: Episodes) -> list[int]:
    found = episodes.support_y.flatten().tolist()
    assert found == episodes.query_x.flatten().tolist()
    return found


def prepare_all(prefetcher: Prefetcher) -> None:
    while prefetcher.prepare():
        pass


@pytest.mark.parametrize("prepared", [False, True])
def test_tasks_are_those_that_were_asked_for(prepared: bool) -> None:
    """Also where the next count asks for others, or an earlier one comes back."""
    prefetcher = Prefetcher(Drawing())
    for indices, count in [([0, 1, 2], 0), ([4, 5], 0), ([5, 3, 2], 1), ([0], 1), ([6, 0], 7), ([0, 6], 8), ([1], 0)]:
        assert shown(prefetcher.get(at(count), indices)) == [1000 * count + i for i in indices]
        if prepared:
            prepare_all(prefetcher)


def test_what_was_prepared_is_drawn_once() -> None:
    prefetcher = Prefetcher(drawing := Drawing())
    for count in range(4):
        prefetcher.get(at(count), [0, 1])
        prefetcher.get(at(count), [2, 3, 4])
        prepare_all(prefetcher)
    assert [sorted(drawing.of(count)) for count in range(5)] == [[0, 1, 2, 3, 4]] * 5


def test_of_a_meta_batch_a_worker_prepares_what_it_mostly_gets() -> None:
    """Where the work is cut varies from count to count; all tasks would be drawn by all workers in vain."""
    prefetcher = Prefetcher(drawing := Drawing())
    for count in range(40):
        prefetcher.get(at(count), range(8) if count % 4 else range(6))
    prepare_all(prefetcher)
    assert sorted(drawing.of(40)) == list(range(8))
    for count in range(40, 60):
        prefetcher.get(at(count), range(8) if count % 2 else range(8, 16))
    prepare_all(prefetcher)
    assert len(drawing.of(60)) == 10  # of eight on average, and a quarter more


def test_another_purpose_or_size_is_not_taken_for_the_next_count() -> None:
    prefetcher = Prefetcher(drawing := Drawing())
    prefetcher.get(at(0), range(3))
    prepare_all(prefetcher)
    other = attrs.evolve(at(1), spec=EpisodeSpec(n_way=1, k_shot=1, n_query=2))
    prefetcher.get(other, [7])
    assert drawing.of(1).count(7) == 1
    prepare_all(prefetcher)
    assert drawing.of(2) == [7]


def test_it_stays_within_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnas_app.training.setup.prefetch.AHEAD_BYTES", 0)
    prefetcher = Prefetcher(drawing := Drawing())
    prefetcher.get(at(0), range(40))
    prepare_all(prefetcher)
    assert 0 < len(drawing.of(1)) < 10


def test_a_fault_is_told_where_its_tasks_are_asked_for() -> None:
    def draw(stream: Stream, indices: Sequence[int]) -> Episodes:
        if stream.counter == (1,):
            raise DataError("the disk is gone")
        return Drawing()(stream, indices)

    prefetcher = Prefetcher(draw)
    prefetcher.get(at(0), [0])
    prepare_all(prefetcher)
    with pytest.raises(DataError, match="the disk is gone"):
        prefetcher.get(at(1), [0])


def test_a_thread_draws_before_it_is_asked() -> None:
    """Or a training on a GPU would wait for its tasks."""
    prefetcher = Prefetcher(drawing := Drawing(), thread=True)
    for count in range(3):
        assert shown(prefetcher.get(at(count), range(6))) == [1000 * count + i for i in range(6)]
        deadline = time.monotonic() + 20
        while len(drawing.of(count + 1)) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
    here = threading.current_thread().name
    assert [count for count, _, thread in drawing.drawn if thread == here] == [0] * 6
    assert len(drawing.drawn) == 24
