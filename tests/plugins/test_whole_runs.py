"""`hnas run` with spaces and tasks that other whole runs do not use: ResNet12, and a folder of pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = {
    "space.base_width": 2,
    "task.n_way": 2,
    "strategy.population": 4,
    "strategy.iterations": 2,
    "learner.inner_steps": 1,
    "learner.multi_step_loss": False,
    "learner.drop_block": 0.1,
    "meta_train.epochs": 1,
    "meta_train.iterations": 3,
    "meta_train.tasks": 4,
    "meta_train.n_query": 2,
    "meta_train.validate_tasks": 4,
    "search.tasks": 2,
    "search.pool": 4,
    "search.n_query": 2,
    "search.final_tasks": 4,
    "retrain.epochs": 1,
    "retrain.iterations": 3,
    "retrain.tasks": 4,
    "retrain.n_query": 2,
    "evaluate.tasks": 20,
    "evaluate.n_query": 3,
    "tasks.side": 12,
    "tasks.flip": True,
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve classes of six pictures: stripes of two colours that are the class's own, with noise."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for c in range(12):
        folder = root / f"class {c}"
        folder.mkdir()
        colours = generator.integers(0, 255, (2, 3))
        for i in range(6):
            stripes = colours[(np.arange(20)[:, None] + np.arange(16) + i) // (1 + c % 3) % 2]
            noisy = np.clip(stripes + generator.normal(0, 20, stripes.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{i}.png")
    return root


def test_resnet12_on_a_folder_of_pictures(pictures: Path, tmp_path: Path):
    """From pictures to a network that was found; costs count shortcuts and classifier. Too short to learn much."""
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    program = [sys.executable, "-c", "from hnas_app.cli import main; main()"]
    command = ["run", "--preset", "none", "--space", "resnet12", "--tasks", "folder", "--data-root", str(pictures)]
    command += ["--constraint", "latency<=1ref", "--workers", "2", "--run-dir", str(tmp_path / "run"), *settings]
    done = subprocess.run([*program, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "run" / "evaluate.json").read_text())
    networks = {n["name"]: n for n in result["networks"]}
    reference = networks["resnet12"]
    widths, sides, channels, params, macs = (2, 4, 8, 16), (6, 3, 2, 1), 3, 0, 0
    for width, side in zip(widths, sides, strict=True):
        weights = 9 * channels * width + 2 * 9 * width * width + channels * width
        params += weights + 4 * width + 8 * width
        macs += weights * side**2
        channels = width
    assert reference["cost"]["values"]["params"] == params + 16 * 2 + 2
    assert reference["cost"]["values"]["macs"] == macs + 16 * 2
    assert all(0.3 < n["retrained"]["mean"] < 1 and n["retrained"]["tasks"] == 20 for n in networks.values())
    assert networks["found"]["cost"]["values"]["latency"] <= reference["cost"]["values"]["latency"]


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["meta-sgd", "alfa", "l2f", "anil", "reptile"])
def test_learners_by_gradient_in_whole_runs(learner: str, tmp_path: Path):
    """From meta-training to a re-trained and exported network: the same numbers with one worker and with two."""
    pytest.importorskip("onnx")
    settings = TINY | {"task.n_way": 3, "retrain.start": "supernet", "learner.inner_steps": 2}
    left_out = ("learner.drop_block", "learner.multi_step_loss", "tasks.")
    settings = {k: v for k, v in settings.items() if not k.startswith(left_out)}
    program = [sys.executable, "-c", "from hnas_app.cli import main; main()"]
    found = []
    for workers in ("1", "2"):
        command = ["run", "--preset", "none", "--tasks", "glyphs", "--learner", learner, "--workers", workers]
        command += ["--run-dir", str(tmp_path / workers)]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        done = subprocess.run([*program, *command], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(json.loads((tmp_path / workers / "evaluate.json").read_text())["networks"])
    assert found[0] == found[1]
    done = subprocess.run([*program, "export", str(tmp_path / "1")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
