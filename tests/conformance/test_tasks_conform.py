"""Task sources that need no download. The others have their class beside the tests that write small data for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hnas.episode import EpisodeSpec
from hnas.task_source import TaskSource
from hnas.testing import TasksConformance, TinyTasks
from hnas_plugins.tasks.folder.source import Folder, FolderOptions
from hnas_plugins.tasks.glyphs.source import Glyphs, GlyphsOptions


class TestGlyphs(TasksConformance):
    options = GlyphsOptions

    def make(self) -> TaskSource:
        return Glyphs()


class TestGlyphsWithoutVariation(TasksConformance):
    """Renderings as they are: they recur, so it can be seen which belong to one class. Each class has four of them."""

    spec = EpisodeSpec(n_way=3, k_shot=2, n_query=2)

    def make(self) -> TaskSource:
        return Glyphs(GlyphsOptions(rotation=0.0, scale=0.0, shear=0.0, shift=0.0, elastic=0.0))


IMAGES = 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen classes of pictures, each of one colour."""
    root = tmp_path_factory.mktemp("pictures")
    for label in range(15):
        folder = root / f"class {label:02d}"
        folder.mkdir()
        for number in range(IMAGES):
            Image.new("RGB", (12, 10), (16 * label, 8 * number, 77)).save(folder / f"{number}.png")
    return root


class TestFolder(TasksConformance):
    options = FolderOptions
    images_per_class = IMAGES

    @pytest.fixture(autouse=True)
    def _given(self, pictures: Path) -> None:
        self.root = pictures

    def make(self) -> TaskSource:
        return Folder(FolderOptions(root=str(self.root), side=8))


class TestTiny(TasksConformance):
    """What the conformance tests of learners stand on."""

    def make(self) -> TaskSource:
        return TinyTasks()
