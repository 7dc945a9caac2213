"""The super-nets that come with hnas: they need no file, and what their cards promise can be measured again."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import hnas
from hnas_app.cli import run as command_line

ROOT = Path(__file__).resolve().parents[3]
CARDS = ROOT / "plugins" / "hnas_plugins" / "supernets"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no network."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"the network is used: {arguments}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_first_command_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    """With a small budget. The super-net is far above the nearest class mean, and the limit is kept."""
    words = ["--workers", "1", "--set", "strategy.iterations=1", "--set", "search.finalists=3", "--json"]
    assert command_line(["adapt", "glyphs", "--backend", "eyeriss", "--constraint", "latency<=0.6ref", *words]) == 0
    standing = json.loads(capsys.readouterr().out)["standing"]
    assert standing["accuracy"] > standing["class_mean"] + 0.2


@pytest.mark.parametrize(("name", "n_way"), [("glyphs", 2), ("glyphs", 12), ("omniglot", 3)])
def test_pictures_of_any_number_of_classes(name: str, n_way: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a size and colour of their own, with unequal numbers; what the super-net was trained on is not needed."""
    generator = np.random.default_rng(0)
    for label in range(n_way):
        (folder := Path("pictures") / f"class {label}").mkdir(parents=True)
        strokes = generator.integers(10, 54, (5, 2))
        for i in range(2 + label % 2):
            image = Image.new("RGB", (64, 64), "white")
            points = (strokes + generator.integers(-3, 4, strokes.shape)).ravel().tolist()
            ImageDraw.Draw(image).line(points, fill="black", width=5)
            image.save(folder / f"{i}.png")
    words = ["--workers", "1", "--set", "strategy.iterations=1", "--set", "search.finalists=2", "--json"]
    assert command_line(["adapt", name, "--pictures", "pictures", "--constraint", "params<=0.6ref", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["classes"]) == n_way
    assert found["held_out"]["right"] > found["held_out"]["of"] / n_way


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glyphs", "omniglot"])
def test_the_card_says_what_is_measured(name: str, real_data: Any) -> None:
    """The accuracy of the reference network at 5-way 1-shot, on fewer tasks than the card's 600."""
    (reference,) = re.findall(
        r"^\| 5-way 1-shot \|[^|]*\| ([\d.]+) ± [\d.]+ \|", (CARDS / name / "card.md").read_text(), re.M
    )
    settings = {"workers": 1, "evaluate.tasks": 100, "strategy.iterations": 1, "search.finalists": 1}
    settings |= {} if name == "glyphs" else {"tasks.root": str(real_data(name))}
    run = hnas.load_supernet(name).branch(constraints="latency<=0.6ref", settings=settings)
    sys.path.insert(0, str(ROOT / "experiments" / "zoo"))
    try:
        from measure import zero_retrain
    finally:
        sys.path.pop(0)
    with run.session() as phases:
        found = zero_retrain(phases, 5, 1)["reference"]
    assert abs(found["accuracy"] - float(reference)) < 2 * found["half_width"]
