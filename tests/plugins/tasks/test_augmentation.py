"""Augmentation: each part alone does what its name says, and nothing leaves 0…1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hnas_plugins.tasks.images.augmentation import AugmentationOptions, augment


def pictures(n: int = 64, height: int = 9, width: int = 12) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def changed(x: Tensor, **options: object) -> Tensor:
    return augment(x, AugmentationOptions(**options), np.random.default_rng(1))


def test_nothing_switched_on_changes_nothing():
    assert not AugmentationOptions().augments
    assert changed(pictures()) is not None
    assert torch.equal(changed(pictures()), pictures())


def test_flip_mirrors_about_half_of_the_images_left_to_right():
    x = pictures()
    y = changed(x, flip=True)
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(x, y, strict=True)]
    mirrored = [torch.allclose(a.flip(2), b, atol=1e-5) for a, b in zip(x, y, strict=True)]
    assert all(s != m for s, m in zip(same, mirrored, strict=True))
    assert 20 < sum(mirrored) < 44


def test_crop_shifts_by_whole_pixels_and_repeats_the_edge():
    x = pictures()
    y = changed(x, crop=2)
    shifts = set()
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
    for i in range(len(x)):
        found = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.allclose(padded[i, :, dy : dy + 9, dx : dx + 12], y[i], atol=1e-4)
        ]
        assert found
        shifts.add(found[0])
    assert len(shifts) > 15  # of 25


def test_rotation_keeps_what_is_round_and_moves_what_is_not():
    ys, xs = torch.meshgrid(torch.arange(21.0) - 10, torch.arange(21.0) - 10, indexing="ij")
    disc = torch.exp(-(xs**2 + ys**2) / 60).expand(8, 3, 21, 21)
    inner = (..., slice(4, 17), slice(4, 17))  # what lies further out may come from outside
    assert torch.allclose(changed(disc, rotation=45.0)[inner], disc[inner], atol=0.02)
    ramp = ((xs + 10) / 20).expand(8, 3, 21, 21)
    assert (changed(ramp, rotation=45.0) - ramp)[inner].abs().amax((1, 2, 3)).median() > 0.05


def test_a_turn_does_not_stretch_images_that_are_not_square():
    """A quarter turn of a wide image: a dot right of the centre comes to stand as many pixels above or below it."""
    dot = torch.zeros(200, 1, 41, 61)
    dot[:, :, 20, 40] = 1.0
    turned = changed(dot, rotation=90.0)
    ys, xs = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(61.0) - 30, indexing="ij")
    mass = turned.sum((1, 2, 3))
    y, x = ((turned[:, 0] * axis).sum((1, 2)) / mass for axis in (ys, xs))
    assert (x**2 + y**2).sqrt().numpy() == pytest.approx(np.full(200, 10.0), abs=0.2)


def test_colour_changes_brightness_within_its_bounds():
    grey = torch.full((64, 3, 4, 4), 0.5)
    y = changed(grey, colour=0.4)
    assert (y == y[:, :1, :1, :1]).all()  # no contrast and no saturation to change
    means = y.mean((1, 2, 3))
    assert 0.3 <= means.min() < 0.35
    assert 0.65 < means.max() <= 0.7
    assert changed(pictures(), colour=0.9).min() >= 0
    assert changed(pictures(), colour=0.9).max() <= 1
