"""Checkpoints: exact tensors, checksums that refuse damage, the last good one used, old ones deleted."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch

from hnas.errors import DataError
from hnas_app.training.checkpoint import KEEP, load_checkpoint, load_latest, save_checkpoint


def save(folder: Path, n: int, prefix: str = "meta-train") -> Path:
    return save_checkpoint(folder, f"{prefix}-{n:06d}", {"w": torch.full((4, 3), float(n))}, {"iteration": n})


def latest(folder: Path, told: list[str]) -> int | None:
    found = load_latest(folder, "meta-train", notify=told.append)
    if found is None:
        return None
    tensors, meta = found
    assert tensors["w"].eq(meta["iteration"]).all()
    return int(meta["iteration"])


def test_tensors_and_counters_come_back_exactly(tmp_path):
    weights = torch.randn(6, 4, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    tensors = {
        "float64": torch.tensor([1 / 3, float("inf"), -0.0], dtype=torch.float64),
        "float16": torch.tensor([0.5], dtype=torch.float16),
        "bfloat16": torch.tensor([0.5], dtype=torch.bfloat16),
        "scalar": torch.tensor(3, dtype=torch.int64),
        "empty": torch.zeros(0, 2),
        "needs_grad": torch.ones(2, requires_grad=True),
        "whole": weights,
        "view": weights[:3, :2],
        "transposed": weights.T,
    }
    meta = {"iteration": 7, "best": 0.1 + 0.2, "pair": (1, 2), "by_number": {2: "b", 10: "a"}, "loss": float("inf")}
    save_checkpoint(tmp_path, "meta-train-000007", tensors, meta)
    found = load_latest(tmp_path, "meta-train")
    assert found is not None
    read, read_meta = found
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype, name
        assert torch.equal(read[name], tensor.detach()), name
    assert read_meta == json.loads(json.dumps(meta))
    assert read_meta["best"] == meta["best"]
    read["whole"].add_(1)  # a state is updated in place


def test_the_newest_is_used_and_the_last_few_are_kept(tmp_path):
    for n in (1, 2, 9, 10, 100):
        save(tmp_path, n)
    save(tmp_path, 1, prefix="retrain")
    assert latest(tmp_path, told := []) == 100
    assert told == []
    names = sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("meta-train"))
    assert names == sorted(f"meta-train-{n:06d}.{end}" for n in (9, 10, 100)[-KEEP:] for end in ("json", "safetensors"))
    assert load_latest(tmp_path, "retrain") is not None


def test_a_prefix_does_not_see_a_longer_one(tmp_path):
    save(tmp_path, 5, prefix="meta-train-reference")
    assert latest(tmp_path, []) is None


def test_nothing_saved_is_none_without_a_word(tmp_path):
    assert latest(tmp_path / "none", told := []) is None
    assert told == []


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("end", "damage"),
    [
        ("safetensors", cut_short),
        ("safetensors", flip_a_bit),
        ("safetensors", lambda path: path.unlink()),
        ("json", cut_short),
        ("json", lambda path: path.write_text(path.read_text().replace('"iteration": 2', '"iteration": 3'))),
        ("json", lambda path: path.write_text("[]")),
        ("json", lambda path: path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_the_last_good_one_used(tmp_path, end, damage):
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    damage(newest.with_suffix(f".{end}"))
    assert latest(tmp_path, told := []) == 1
    assert len(told) == 1
    assert "\n" not in told[0]
    assert "meta-train-000002" in told[0]
    assert told[0].endswith("going on from meta-train-000001")
    with pytest.raises(DataError):
        load_checkpoint(newest)


def test_no_good_one_left_is_told(tmp_path):
    cut_short(save(tmp_path, 1).with_suffix(".safetensors"))
    assert latest(tmp_path, told := []) is None
    assert "no whole checkpoint is left" in told[0]


def test_a_kill_between_the_two_files_leaves_the_one_before_in_force(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2).unlink()  # the JSON file is written last
    assert latest(tmp_path, told := []) == 1
    assert told == []


def test_leftovers_of_a_kill_are_cleared(tmp_path):
    leftover = tmp_path / ".meta-train-000001.safetensors.123.tmp"
    leftover.write_bytes(b"half")
    save(tmp_path, 2)
    assert not leftover.exists()


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    save(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DataError, match=r"meta-train-000002\.safetensors.*free"):
            save_checkpoint(tmp_path, "meta-train-000002", {"w": torch.zeros(5000)}, {"iteration": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert latest(tmp_path, []) == 1


def test_a_kill_while_old_ones_are_deleted_leaves_nothing_behind(tmp_path, monkeypatch):
    """Weights without their record were never found again: a file of the size of a super-net."""
    for n in range(KEEP):
        save(tmp_path, n)
    unlink, left = Path.unlink, [1]

    def killed(path: Path, missing_ok: bool = False) -> None:
        if left.pop() == 0:
            raise KeyboardInterrupt
        left.append(0)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, KEEP)
    save(tmp_path, KEEP + 1)
    assert len(list(tmp_path.iterdir())) == 2 * KEEP
