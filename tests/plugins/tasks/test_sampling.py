"""Drawing tasks: a repeat would leak a query image into the support set, a bias would skew every accuracy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hnas import DataError, EpisodeSpec
from hnas_plugins.tasks.sampling import assemble, draw_classes, draw_distinct, draw_images


@given(st.data(), st.integers(0, 40), st.integers(1, 60), st.integers(0, 2**32))
def test_a_row_never_repeats_a_number(data: st.DataObject, rows: int, population: int, seed: int):
    count = data.draw(st.integers(0, population))
    drawn = draw_distinct(np.random.default_rng(seed), rows, population, count)
    assert drawn.shape == (rows, count)
    assert all(len(set(row)) == count and all(0 <= n < population for n in row) for row in drawn.tolist())


def test_every_ordered_draw_has_the_same_chance():
    drawn = draw_distinct(np.random.default_rng(0), 24_000, 4, 3)
    seen = Counter(map(tuple, drawn.tolist()))
    assert len(seen) == 24
    assert max(abs(n - 1000) for n in seen.values()) < 150  # 1000 expected, standard deviation 31


@given(st.integers(0, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 9))
def test_no_image_is_in_both_support_and_query(seed: int, k_shot: int, n_query: int, spare: int):
    spec = EpisodeSpec(n_way=3, k_shot=k_shot, n_query=n_query)
    support, query = draw_images(np.random.default_rng(seed), k_shot + n_query + spare, spec, "it")
    assert support.shape == (3, k_shot)
    assert query.shape == (3, n_query)
    together = np.concatenate([support, query], 1)
    assert all(len(set(row)) == k_shot + n_query for row in together.tolist())


def test_the_same_state_gives_the_same_draw_and_the_next_another():
    generator = np.random.default_rng(5)
    first, second = (draw_distinct(generator, 8, 100, 5) for _ in range(2))
    assert (draw_distinct(np.random.default_rng(5), 8, 100, 5) == first).all()
    assert (first != second).any()


def test_too_few_classes_or_images_are_told_with_the_numbers():
    generator, spec = np.random.default_rng(0), EpisodeSpec(n_way=5, k_shot=5, n_query=16)
    with pytest.raises(DataError, match="x's test split has 4 classes, a 5-way task needs 5"):
        draw_classes(generator, 4, spec, "x's test split")
    with pytest.raises(DataError, match="20 images a class; 5 support and 16 query images need 21") as caught:
        draw_images(generator, 20, spec, "x's test split")
    assert "n_query of at most 15" in (caught.value.hint or "")


def test_episodes_hold_each_tasks_images_class_by_class():
    spec, n_tasks = EpisodeSpec(n_way=3, k_shot=2, n_query=4), 5
    n_support = n_tasks * 3 * 2
    images = torch.arange(n_tasks * 3 * 6, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    episodes = assemble(images, n_tasks, spec)
    assert episodes.support_x.shape == (5, 6, 1, 2, 2)
    assert episodes.query_x.shape == (5, 12, 1, 2, 2)
    assert episodes.support_x[1, :, 0, 0, 0].tolist() == [6, 7, 8, 9, 10, 11]
    assert episodes.query_x[1, 0, 0, 0, 0].item() == n_support + 12
    assert episodes.support_y.tolist() == [[0, 0, 1, 1, 2, 2]] * 5
    assert episodes.query_y.tolist() == [[0] * 4 + [1] * 4 + [2] * 4] * 5
    assert episodes.support_y.dtype == torch.int64
