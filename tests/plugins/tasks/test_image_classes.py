"""Tasks from classes of images: what would break is the pairing of image and class, or a leak into the query set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hnas import DataError, EpisodeSpec
from hnas_plugins.tasks.images.augmentation import AugmentationOptions
from hnas_plugins.tasks.images.classes import ImageClasses

COUNTS = np.array([9, 4, 6, 12, 5])


def classes(channels: int = 3, side: int = 6) -> ImageClasses:
    """Make images that are all of one grey: ten times their class, plus their number in it."""
    starts = np.cumsum(COUNTS) - COUNTS
    greys = np.concatenate([16 * c + np.arange(n) for c, n in enumerate(COUNTS)]).astype(np.uint8)
    images = np.broadcast_to(greys[:, None, None, None], (len(greys), side, side, channels)).copy()
    return ImageClasses(images=images, starts=starts, counts=COUNTS)


def greys(x: torch.Tensor) -> np.ndarray:
    """Return the grey (T, N) of images (T, N, C, H, W), each of which has only one."""
    flat = (x * 255).round().flatten(2)
    assert (flat == flat[..., :1]).all()
    return flat[..., 0].int().numpy()


def generators(n_tasks: int) -> list[np.random.Generator]:
    return [np.random.default_rng(i) for i in range(n_tasks)]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_task_shows_different_images_of_as_many_classes(channels):
    spec = EpisodeSpec(n_way=4, k_shot=1, n_query=3)
    drawn = classes(channels).tasks(generators(50), spec, what="it")
    assert drawn.support_x.shape == (50, 4, channels, 6, 6)
    assert drawn.query_x.shape == (50, 12, channels, 6, 6)
    support, query = greys(drawn.support_x), greys(drawn.query_x)
    for task in range(50):
        of_class = support[task] // 16
        assert len(set(of_class)) == 4
        assert (query[task] // 16 == np.repeat(of_class, 3)).all()
        assert len({*support[task], *query[task]}) == 16
        assert all(g % 16 < COUNTS[g // 16] for g in (*support[task], *query[task]))


def test_every_image_of_every_class_is_drawn_as_often():
    """Classes of different sizes: an image index drawn from the smallest or largest class would skew this."""
    spec = EpisodeSpec(n_way=5, k_shot=1, n_query=3)
    drawn = classes().tasks(generators(4000), spec, what="it")
    seen = np.bincount(np.concatenate([greys(drawn.support_x), greys(drawn.query_x)], 1).ravel(), minlength=80)
    for c, count in enumerate(COUNTS):
        own = seen[16 * c : 16 * c + count]
        assert own.sum() == 16_000
        assert own == pytest.approx(np.full(count, 16_000 / count), rel=0.1)


def test_the_smallest_class_bounds_what_a_task_may_ask_for():
    with pytest.raises(DataError, match="it has 4 images a class; 2 support and 3 query images need 5"):
        classes().tasks(generators(1), EpisodeSpec(n_way=5, k_shot=2, n_query=3), what="it")


def test_the_same_generators_give_the_same_tasks_augmented_or_not():
    spec = EpisodeSpec(n_way=3, k_shot=1, n_query=2)
    for options in (None, AugmentationOptions(flip=True, crop=1, rotation=5.0, colour=0.2)):
        a, b = (classes().tasks(generators(3), spec, what="it", augmentation=options) for _ in range(2))
        assert torch.equal(a.support_x, b.support_x)
        assert torch.equal(a.query_x, b.query_x)
