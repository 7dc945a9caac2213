"""The example task source conforms, serves a run, and says what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hnas
from hnas.testing import TasksConformance
from hnas_app.cli import run as command_line

REFERENCE = f"{Path(__file__).resolve().parents[2] / 'examples' / 'custom_tasks.py'}:Arrays"
REGISTRY = hnas.Registry()


def arrays(file: Path) -> hnas.TaskSource:
    options = REGISTRY.options_class("tasks", REFERENCE)
    source: hnas.TaskSource = REGISTRY.create("tasks", REFERENCE, options(root=str(file)))
    return source


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty classes of six images of noise, so that no two are alike."""
    made = tmp_path_factory.mktemp("arrays") / "images.npz"
    images = np.random.default_rng(0).integers(0, 256, (120, 3, 8, 8), dtype=np.uint8)
    np.savez(made, images=images, labels=np.arange(20).repeat(6))
    return made


class TestArrays(TasksConformance):
    images_per_class = 6

    @pytest.fixture(autouse=True)
    def _file(self, file: Path) -> None:
        self.file = file

    def make(self) -> hnas.TaskSource:
        return arrays(self.file)


def test_grey_images_need_no_channel(tmp_path):
    grey = np.zeros((40, 5, 7), np.uint8)
    grey[3, 2, 1] = 255
    np.savez(tmp_path / "grey.npz", images=grey, labels=np.arange(10).repeat(4))
    source = arrays(tmp_path / "grey.npz")
    assert source.image_shape == (1, 5, 7)
    assert [source.n_classes(split) for split in ("train", "validation", "test")] == [6, 2, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no arrays", "cannot be read"),
        ({"images": np.zeros((4, 8, 8))}, "cannot be read: .*labels"),
        ({"images": np.zeros((4, 8, 8)), "labels": np.array([{}] * 4, dtype=object)}, "cannot be read: .*allow_pickle"),
        (None, "no file of images was named"),
    ],
)
def test_a_wrong_file_is_a_data_error(tmp_path, content, message):
    """An array of objects would be unpickled, and could run code."""
    file = tmp_path / "wrong.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.savez(file, **content)
    options = REGISTRY.options_class("tasks", REFERENCE)
    source = REGISTRY.create("tasks", REFERENCE, options(root=str(file) if content is not None else ""))
    with pytest.raises(hnas.DataError, match=message):
        _ = source.image_shape, source.n_classes("train")


def test_the_command_line_checks_it(file, capsys):
    assert command_line(["data", "check", REFERENCE, "--data-root", str(file)]) == 0
    assert "12 train, 4 validation, 4 test classes of 3x8x8 images" in capsys.readouterr().out
