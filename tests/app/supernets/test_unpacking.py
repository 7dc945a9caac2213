"""A published super-net becomes a run directory, or is refused by name: nothing wrong is ever unpacked."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
import safetensors.torch
import torch

from hnas.discovery import Registered, Registry
from hnas.errors import ConfigError, DataError, HnasError, PluginError
from hnas_app.runs.run_dir import RunDir
from hnas_app.runs.super_net import Origin, origin_of
from hnas_app.supernets.packing import Packed, packed
from hnas_app.supernets.unpacking import unpacked
from hnas_app.training.checkpoint import load_latest

CACHE = "home/supernets"


def found(name: str = "leaves") -> tuple[Registered, Registry]:
    registry = Registry()
    return registry.get("supernet", name), registry


def weights_of(run: RunDir) -> dict[str, torch.Tensor]:
    saved = load_latest(run.checkpoints / "meta-train", "state")
    assert saved is not None
    return saved[0]


def refused(name: str = "leaves") -> HnasError:
    """Return the error of a super-net that is refused; nothing of it may be left."""
    with pytest.raises(HnasError) as error:
        unpacked(*found(name))
    assert error.value.hint
    return error.value


def test_it_is_a_run_whose_meta_training_is_done(site: Any, tiny: Packed, trained: RunDir, tmp_path: Path) -> None:
    site.publish(tiny)
    run = unpacked(*found())
    assert run.path.parent == tmp_path / CACHE
    assert run.is_done("meta-train")
    sha256 = hashlib.sha256(tiny.weights).hexdigest()
    assert origin_of(run) == Origin(
        name="leaves",
        distribution="hnas-supernet-leaves",
        version="1.0",
        sha256=sha256,
        licence="CC0-1.0",
        image_shape=(1, 28, 28),
        n_way=(2, 50),
    )
    before = {k: v for k, v in weights_of(trained).items() if not k.startswith("outer/")}
    after = weights_of(run)
    assert after.keys() == before.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert (run.path / "card.md").read_bytes() == tiny.card


def test_it_is_unpacked_once_and_again_if_it_was_damaged(site: Any, tiny: Packed, tmp_path: Path) -> None:
    site.publish(tiny)
    run = unpacked(*found())
    made = run.record_path.stat().st_mtime_ns
    assert unpacked(*found()) == run
    assert run.record_path.stat().st_mtime_ns == made
    (weights,) = (run.checkpoints / "meta-train").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert unpacked(*found()) == run
    assert weights_of(run)
    assert [p.name for p in (tmp_path / CACHE).iterdir()] == [run.path.name]


def test_several_processes_may_unpack_it_at_once(site: Any, tiny: Packed, tmp_path: Path) -> None:
    site.publish(tiny)
    registered, registry = found()
    unpacked(registered, registry)  # imports what it needs: threads stand for processes here
    whole = Path(unpacked(registered, registry).path)
    for path in sorted(whole.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    whole.rmdir()
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: unpacked(registered, registry), range(4)))
    assert len(set(runs)) == 1
    assert weights_of(runs[0])
    assert [p.name for p in (tmp_path / CACHE).iterdir()] == [runs[0].path.name]


def test_another_version_of_it_is_another_folder(site: Any, tiny: Packed) -> None:
    site.publish(tiny)
    site.publish(tiny, distribution="hnas-supernet-more")
    one, two = (unpacked(*found(f"leaves@hnas-supernet-{d}")) for d in ("leaves", "more"))
    assert one != two


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("file", ["weights.safetensors", "config.toml", "card.md"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_file_is_refused_before_anything_is_used(
    file: str, damage: str, site: Any, tiny: Packed, tmp_path: Path
) -> None:
    path = site.publish(tiny) / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (b"" if damage == "cut" else bytes([content[-1] ^ 1])))
    error = refused()
    assert isinstance(error, DataError)
    assert "super-net 'leaves' of hnas-supernet-leaves 1.0" in str(error)
    assert str(path) in str(error)
    assert ("missing" if damage == "missing" else "damaged, or another file") in str(error)
    assert "pip install --force-reinstall hnas-supernet-leaves" in str(error.hint)
    assert not (tmp_path / CACHE).exists()


@pytest.mark.parametrize(
    ("before", "after", "kind", "told"),
    [
        ('classifier = "shared"', 'classifier = "shared"\nwings = 2', ConfigError, "wings"),
        ('classifier = "shared"', 'classifier = "telepathic"', ConfigError, "telepathic"),
        ('name = "vgg9"', 'name = "vgg99"', PluginError, "unknown space 'vgg99'"),
    ],
)
def test_a_configuration_that_this_hnas_does_not_know(
    before: str, after: str, kind: type, told: str, site: Any, tiny: Packed, tmp_path: Path
) -> None:
    assert before in tiny.config.decode()
    site.publish(attrs.evolve(tiny, config=tiny.config.decode().replace(before, after).encode()))
    error = refused()
    assert isinstance(error, kind)
    assert "the configuration of super-net 'leaves' of hnas-supernet-leaves 1.0 is not one that hnas" in str(error)
    assert told in str(error)
    assert ".tmp" not in str(error)  # what was made of it meanwhile is gone
    assert "upgrade hnas" in str(error.hint)
    assert list((tmp_path / CACHE).iterdir()) == []


def test_the_device_of_its_author_need_not_be_here(site: Any, tiny: Packed) -> None:
    config = tiny.config.decode()
    a, b = config.index("[backend]"), config.index("[strategy]")
    site.publish(attrs.evolve(tiny, config=(config[:a] + '[backend]\nname = "far-away"\n\n' + config[b:]).encode()))
    assert 'name = "eyeriss"' in unpacked(*found()).config_path.read_text()


def test_weights_that_do_not_fit_the_space(site: Any, tiny: Packed, tmp_path: Path) -> None:
    config = tiny.config.decode().replace("base_width = 4", "base_width = 8").encode()
    site.publish(attrs.evolve(tiny, config=config))
    error = refused()
    assert isinstance(error, DataError)
    assert "the weights of super-net 'leaves' of hnas-supernet-leaves 1.0 do not fit the space 'vgg9'" in str(error)
    assert list((tmp_path / CACHE).iterdir()) == []


def test_weights_that_are_no_safetensors(site: Any, tiny: Packed) -> None:
    site.publish(attrs.evolve(tiny, weights=b"\x80\x04 a pickle"))
    assert "are not a safetensors file" in str(refused())


def test_images_other_than_those_declared(site: Any, tiny: Packed) -> None:
    site.publish(tiny, image_shape=(3, 84, 84))
    assert "is for images of (3, 84, 84) by its descriptor, of (1, 28, 28)" in str(refused())


def test_two_distributions_with_one_name(site: Any, tiny: Packed) -> None:
    site.publish(tiny)
    site.publish(tiny, distribution="hnas-supernet-more")
    error = refused()
    assert isinstance(error, PluginError)
    assert "supernet 'leaves' is provided by hnas-supernet-leaves and hnas-supernet-more" in str(error)
    assert "leaves@hnas-supernet-leaves" in str(error.hint)


def test_one_that_needs_a_newer_hnas(site: Any, tiny: Packed) -> None:
    site.publish(tiny, api=99)
    assert "needs plugin api 99" in str(refused())


def test_a_cache_that_cannot_be_written(site: Any, tiny: Packed, tmp_path: Path) -> None:
    site.publish(tiny)
    (tmp_path / "home").write_text("a file")
    with pytest.raises(DataError, match="cannot write"):
        unpacked(*found())


# ---------------------------------------------------------------- the classes that it was trained on


def test_classes_that_it_was_trained_on_go_with_it(site: Any, tiny: Packed, trained: RunDir, tmp_path: Path) -> None:
    """A later run with other data refuses to be tested on them."""
    run = RunDir(tmp_path / "copy")
    run.path.mkdir()
    for path in trained.path.rglob("*"):
        target = run.path / path.relative_to(trained.path)
        target.mkdir(exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    classes = {"train": {"oak": "d1"}, "validation": {"elm": "d2"}}
    (run.path / "splits.json").write_text(json.dumps({"schema": 0, "sources": {"mine": classes}}))
    site.publish(packed(run, "leaves", Registry(third_party=False)))
    splits = json.loads((unpacked(*found()).path / "splits.json").read_text())
    assert splits["sources"] == {"the data of super-net leaves": {"train": {"oak of mine": "d1"}}}


def test_the_state_that_only_training_needs_is_left_out(tiny: Packed) -> None:
    assert not [k for k in safetensors.torch.load(tiny.weights) if k.startswith("outer/")]
