"""The script that compares all learners: a file for each learner and seed, made once, and a table of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from tiny_tasks import tiny_setup

from hnas import Registry


@pytest.fixture
def script(benchmark_module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, on tasks and a network that train in a hundredth of a second an iteration."""
    module = benchmark_module("learners")

    def setup_of(learner: str, settings: Any, root: str, seed: int) -> Any:
        options = {k.removeprefix("learner."): v for k, v in settings.items() if k.startswith("learner.")}
        tiny, made = tiny_setup(seed), Registry().create("learner", learner, options)
        return attrs.evolve(tiny, learner=made, alone=tiny.space.references()[module.REFERENCE])

    monkeypatch.setattr(module, "setup_of", setup_of)
    monkeypatch.setattr(module, "TASKS", 2)
    return module


def test_each_learner_and_seed_is_measured_once(script: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    words = ["--data-root", "data", "--results", str(tmp_path), "--test-tasks", "4", "--iterations", "10"]
    script.main(["maml", "prototypical", "--seeds", "2", *words])
    files = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert sorted(files) == ["maml-0.json", "maml-1.json", "prototypical-0.json", "prototypical-1.json"]
    assert all(0 <= row["accuracy"] <= 1 and row["seconds"] > 0 and row["split"] == "test" for row in files.values())
    assert files["maml-0.json"]["stored_B"] == 0 < files["prototypical-0.json"]["stored_B"]
    assert "data" not in json.dumps(files)  # nobody else has the folder
    capsys.readouterr()
    script.main(["--table", "--results", str(tmp_path)])
    table = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| maml", "| prototypical"]
    assert all(" ± " in line and " | 2 | 10 | " in line for line in table[2:])
    monkeypatch.setattr(script, "measured", None)  # which would be called for a file that is not there
    script.main(["maml", "prototypical", "--seeds", "2", *words])
    with pytest.raises(SystemExit, match="another recipe: iterations 10, not 20"):
        script.main(["maml", *words[:-1], "20"])


def test_settings_are_tried_on_validation_classes_and_leave_no_file(script: Any, tmp_path: Path, capsys: Any) -> None:
    words = ["--data-root", "data", "--results", str(tmp_path), "--test-tasks", "4", "--iterations", "10"]
    script.main(["meta-sgd", "--seeds", "1", *words, "--try", "learner.inner_lr=0.5"])
    row = json.loads(capsys.readouterr().out)
    assert (row["split"], row["settings"]["learner.inner_lr"]) == ("validation", 0.5)
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit):
        script.main(["nobody", *words])
    assert "no learners ['nobody']" in capsys.readouterr().err


def test_the_learners_of_the_table_are_built_in(script: Any) -> None:
    assert set(script.SETTINGS) <= {found.plugin.name for found in Registry(third_party=False).list("learner")}
