"""The embedded data set: it has to be the same for everyone, neither trivial nor hopeless, and without leaks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch

from hnas import DataError, Episodes, EpisodeSpec
from hnas.task_source import SPLITS
from hnas_app.training.evaluate import nearest_class_mean
from hnas_plugins.tasks.glyphs import rendering
from hnas_plugins.tasks.glyphs.rendering import render
from hnas_plugins.tasks.glyphs.source import Glyphs, GlyphsOptions
from hnas_plugins.tasks.glyphs.variation import Variation, vary

STILL = GlyphsOptions(rotation=0, scale=0, shear=0, shift=0, elastic=0)


@pytest.fixture(scope="module")
def glyphs(hnas_home: Path) -> Glyphs:
    return Glyphs()


def sample(source: Glyphs, seed: int = 0, split: str = "train", **size: int) -> Episodes:
    n_tasks = size.pop("n_tasks", 4)
    generators = [np.random.default_rng((seed, i)) for i in range(n_tasks)]
    return source.sample(split, EpisodeSpec(**size), generators)  # type: ignore[arg-type]


def test_there_are_some_2700_characters_in_disjoint_splits(glyphs: Glyphs):
    splits = {split: glyphs.code_points(split) for split in SPLITS}
    everything = [c for split in splits.values() for c in split]
    assert len(set(everything)) == len(everything)
    assert 2300 < len(everything) < 3200  # 2,681 with matplotlib 3.11 and FreeType 2.14
    shares = [len(splits[s]) / len(everything) for s in SPLITS]
    assert shares == pytest.approx([0.64, 0.16, 0.20], abs=0.03)
    assert shares == [glyphs.n_classes(s) / len(everything) for s in SPLITS]


def test_no_bitmap_belongs_to_two_classes(glyphs: Glyphs):
    """Latin A in training and Greek Alpha in the test would be a leak; both in one task could not be told apart."""
    data = glyphs._data
    of_class = np.repeat(np.arange(len(data.counts)), data.counts)
    owner: dict[bytes, int] = {}
    for image, class_ in zip(data.images, of_class.tolist(), strict=True):
        assert owner.setdefault(image.tobytes(), class_) == class_
    known = set(data.code_points.tolist())
    assert ord("A") in known
    assert not known & {0x391, 0x410}  # Greek and Cyrillic capital A look like it


def test_every_class_has_four_renderings_and_no_empty_one(glyphs: Glyphs):
    assert glyphs._data.counts.min() >= 4
    assert glyphs._data.images.reshape(len(glyphs._data.images), -1).max(1).min() > 60


def test_shapes_types_and_range(glyphs: Glyphs):
    episodes = sample(glyphs, n_way=5, k_shot=2, n_query=3)
    assert episodes.support_x.shape == (4, 10, *glyphs.image_shape)
    assert episodes.query_x.shape == (4, 15, 1, 28, 28)
    assert episodes.support_x.dtype == torch.float32
    assert 0 <= episodes.query_x.min() < 0.01
    assert 0.9 < episodes.query_x.max() <= 1.0001
    assert episodes.query_x.mean() < 0.4  # ink is 1, paper 0
    assert episodes.query_y[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_one_seed_is_one_batch(glyphs: Glyphs):
    a, b, other = sample(glyphs, 1), sample(Glyphs(), 1), sample(glyphs, 2)
    assert torch.equal(a.support_x, b.support_x)
    assert torch.equal(a.query_x, b.query_x)
    assert not torch.equal(a.query_x, other.query_x)


def test_support_and_query_come_from_different_renderings(glyphs: Glyphs):
    """With the variation off an image shows which rendering it is: the same one in both would make tasks trivial."""
    still = Glyphs(STILL)
    for k_shot in (1, 5):
        episodes = sample(still, 3, n_tasks=30, n_way=5, k_shot=k_shot, n_query=15)
        for support, query in zip(episodes.support_x, episodes.query_x, strict=True):
            shown = {x.numpy().tobytes() for x in support}
            assert len(shown) >= min(k_shot, 2) * 5
            assert not shown & {x.numpy().tobytes() for x in query}


def test_with_variation_no_two_images_of_a_task_are_equal(glyphs: Glyphs):
    episodes = sample(glyphs, 4, n_tasks=10, n_way=5, k_shot=5, n_query=15)
    for support, query in zip(episodes.support_x, episodes.query_x, strict=True):
        assert len({x.numpy().tobytes() for x in torch.cat([support, query])}) == 100


def test_classes_of_a_task_are_distinct_and_of_its_split(glyphs: Glyphs):
    still, data = Glyphs(STILL), glyphs._data
    owner = {
        image.tobytes(): int(code_point)
        for image, code_point in zip(data.images, np.repeat(data.code_points, data.counts), strict=True)
    }
    for split in SPLITS:
        for images in sample(still, 5, split, n_tasks=20, n_way=5, k_shot=1, n_query=1).support_x:
            shown = {owner[(image * 255).round().to(torch.uint8).numpy().tobytes()] for image in images}
            assert len(shown) == 5
            assert shown <= set(glyphs.code_points(split))


def test_raw_pixels_find_it_neither_trivial_nor_hopeless(glyphs: Glyphs):
    accuracy = nearest_class_mean(sample(glyphs, 6, "test", n_tasks=300, n_way=5, k_shot=1, n_query=15)).mean()
    assert 0.35 < accuracy < 0.60  # 0.45 when this was written; chance is 0.20


def test_another_split_seed_splits_otherwise_and_renders_nothing_new(glyphs: Glyphs, monkeypatch: pytest.MonkeyPatch):
    before = glyphs.code_points("test")
    monkeypatch.setattr("hnas_plugins.tasks.glyphs.source.render", None)  # a second rendering would fail here
    assert Glyphs(GlyphsOptions(split_seed=1)).code_points("test") != before


def test_more_classes_than_a_split_has_are_refused_with_the_numbers(glyphs: Glyphs):
    n = glyphs.n_classes("validation")
    with pytest.raises(DataError, match=f"glyphs' validation split has {n} classes, a {n + 1}-way task needs {n + 1}"):
        sample(glyphs, split="validation", n_tasks=1, n_way=n + 1, k_shot=1, n_query=1)


def test_check_tells_what_is_there(glyphs: Glyphs):
    assert f"{glyphs.n_classes('test')} test" in glyphs.check()


def test_rendering_is_deterministic_and_a_damaged_cache_is_rendered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fonts = [p for p in rendering.font_files() if "SansMono" in p.name]  # four fonts: fast
    monkeypatch.setattr(rendering, "font_files", lambda: fonts)
    monkeypatch.setenv("HNAS_HOME", str(tmp_path))
    first = Glyphs()
    expected = sample(first).query_x
    (array,) = (tmp_path / "glyphs").glob("*.npy")
    whole = array.read_bytes()
    array.write_bytes(whole[: len(whole) // 2])
    assert torch.equal(sample(Glyphs()).query_x, expected)
    assert array.read_bytes() == whole


def test_fonts_that_are_missing_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="0 of the fonts") as caught:
        render(4, 12.0)
    assert "install matplotlib" in (caught.value.hint or "")


def test_options_load_without_torch_and_rendering_without_matplotlib():
    program = (
        "import sys, hnas_plugins.tasks.glyphs.source, hnas_plugins.tasks.omniglot.source\n"
        "from hnas_plugins.tasks.glyphs.rendering import provenance\n"
        "provenance(); assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---------------------------------------------------------------- variation

NONE = Variation(rotation=0, scale=0, shear=0, shift=0, elastic=0)
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 28, 28)).astype(np.uint8))


def test_no_variation_changes_nothing():
    varied = vary(IMAGES, NONE, np.random.default_rng(0))
    assert torch.allclose(varied[:, 0], IMAGES / 255, atol=1e-4)


@pytest.mark.parametrize("part", [a.name for a in attrs.fields(Variation)])
def test_every_part_varies_every_image_on_its_own(part: str):
    same = IMAGES[:1].expand(40, -1, -1)
    varied = vary(same, attrs.evolve(NONE, **{part: 0.5}), np.random.default_rng(0))
    assert len({image.numpy().tobytes() for image in varied}) == 40


def test_a_shift_moves_by_pixels_and_a_rotation_turns_by_degrees():
    """Wrong units would vary far too much or not at all."""
    dot = torch.zeros(200, 28, 28, dtype=torch.uint8)
    dot[:, 13:15, 13:15] = 255
    away = torch.zeros_like(dot)
    away[:, 13:15, 23:25] = 255  # 10 pixels right of the centre
    places = torch.arange(28.0) - 13.5

    def centre(images: torch.Tensor) -> torch.Tensor:
        mass = images.sum((1, 2, 3))
        x, y = (images[:, 0] * places).sum((1, 2)), (images[:, 0] * places[:, None]).sum((1, 2))
        return torch.stack([x, y]) / mass

    moved = centre(vary(dot, attrs.evolve(NONE, shift=3), np.random.default_rng(0)))
    assert 2.7 < moved.abs().max() < 3.05
    turned = centre(vary(away, attrs.evolve(NONE, rotation=30), np.random.default_rng(0)))
    angle = torch.rad2deg(torch.atan2(turned[1], turned[0])).abs()
    assert 28 < angle.max() < 31
    assert torch.allclose(turned.norm(dim=0), torch.tensor(10.0), atol=0.3)
