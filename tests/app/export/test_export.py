"""Exported models: what onnxruntime says of them is what torch says, and a model that differs is not passed on."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from tiny_tasks import tiny_setup

from hnas.episode import Episodes
from hnas.errors import ConfigError, DataError, HnasError
from hnas.toolkit.pictures import Preparation
from hnas_app.config.schema import Config, RetrainConfig
from hnas_app.export import onnx_file, onnx_session
from hnas_app.export.classifier import Classifier, classifier
from hnas_app.export.found_network import is_retrained
from hnas_app.export.metadata import CHECKSUM, ModelMetadata, with_checksum
from hnas_app.export.onnx_file import OPSET, write_onnx
from hnas_app.export.onnx_session import OnnxModel
from hnas_app.training.checkpoint import save_checkpoint
from hnas_app.training.fixed_norm import FixedNorm
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions

PREPARATION = Preparation(channels=1, height=8, width=8, invert=True)
METADATA = ModelMetadata(
    classes=("Äpfel", "Birnen, grün", "\n"), preparation=PREPARATION, architecture={"depth": 2}, origin={"hnas": "1"}
)


def network() -> Classifier:
    setup = tiny_setup()
    state = setup.learner.init(setup.supernet, torch.Generator().manual_seed(0))
    kinds = {"activation1": "relu6", "activation2": "selu", "activation3": "sigmoid", "activation4": "leakyrelu"}
    arch = setup.space.architecture(depth=4, kernel1=1, kernel2=3, kernel3=5, kernel4=3, **kinds)
    return classifier(setup, state, arch, setup.episodes("test", "t", [0], 1))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Classifier]:
    """A model with every kernel, four activations and names that are no plain words."""
    path, made = tmp_path_factory.mktemp("models") / "model.onnx", network()
    written = write_onnx(made, path, METADATA)
    assert (written.opset, written.difference < 1e-4, written.bytes) == (OPSET, True, path.stat().st_size)
    return path, made


def test_it_says_what_torch_says_of_one_image_and_of_many(exported: tuple[Path, Classifier]) -> None:
    path, made = exported
    x = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    model, expected = OnnxModel.open(path), made.logits(x).detach().numpy()
    assert np.abs(model.logits(x.numpy()) - expected).max() < 1e-4
    alone = np.concatenate([model.logits(one[None].numpy()) for one in x])
    assert np.abs(alone - expected).max() < 1e-4
    shares = np.exp(expected[0]) / np.exp(expected[0]).sum()
    assert np.allclose(model.probabilities(x[0].numpy()), shares, atol=1e-5)


class ClassMeans(MAML):
    """Classifies by the nearest class mean of the features; the network's own classifier is never trained."""

    def adapt(self, supernet: Any, state: Any, episodes: Episodes, arch: Any) -> Any:
        adapted = super().adapt(supernet, state, episodes, arch)
        features = supernet.features(adapted, episodes.support_x, arch).flatten(2)
        labels = torch.nn.functional.one_hot(episodes.support_y).to(features.dtype)
        return adapted | {"means": labels.transpose(1, 2) @ features / labels.sum(1)[..., None]}

    def logits(self, supernet: Any, adapted: Any, x: Any, arch: Any, *, stats: Any = None) -> Any:
        features = supernet.features(adapted, x, arch, stats=stats).flatten(2)
        return -(features[:, :, None] - adapted["means"][:, None]).square().sum(-1)


def test_a_learner_s_own_classifier_is_the_one_that_is_exported(tmp_path: Path) -> None:
    """It was the network's, untrained: a model at chance, which agreed with torch to the last digit."""
    setup = attrs.evolve(tiny_setup(), learner=ClassMeans(MAMLPlusPlusOptions(inner_steps=1)))
    state = setup.learner.init(setup.supernet, torch.Generator().manual_seed(0))
    arch, task = setup.space.largest(), setup.episodes("test", "t", [0], 5)
    write_onnx(classifier(setup, state, arch, task), tmp_path / "model.onnx", METADATA)
    logits = OnnxModel.open(tmp_path / "model.onnx").logits(task.query_x[0].numpy())
    right = float((torch.from_numpy(logits).argmax(-1) == task.query_y[0]).float().mean())
    scored = FixedNorm(setup.learner).score(setup.supernet, state, task, arch)
    assert right == pytest.approx(float(scored.accuracy))
    assert right > 0.5  # of five classes; the network's own classifier is at 0.2


def test_names_and_preparation_come_back_as_they_were(exported: tuple[Path, Classifier]) -> None:
    assert OnnxModel.open(exported[0]).metadata == METADATA


def test_the_opset_is_the_one_that_is_stated(exported: tuple[Path, Classifier]) -> None:
    import onnx

    model = onnx.load(exported[0])
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import if o.domain == ""] == [("", OPSET)]


def test_a_model_that_says_something_else_is_refused(exported: tuple[Path, Classifier]) -> None:
    path, made = exported
    other = attrs.evolve(made, params={k: v * 1.01 for k, v in made.params.items()})
    with pytest.raises(HnasError, match="and torch disagree: a logit differs by"):
        onnx_file._difference(other, path, METADATA)


def test_metadata_that_do_not_fit_the_model_are_refused(exported: tuple[Path, Classifier], tmp_path: Path) -> None:
    """A file edited by hand would name the wrong class, or fail in onnxruntime with a riddle."""
    import onnx

    for field, value in (("classes", '["a", "b"]'), ("preparation", PREPARATION)):
        model = onnx.load(exported[0])
        for entry in model.metadata_props:
            if entry.key == f"hnas.{field}":
                entry.value = value if isinstance(value, str) else '{"channels":3,"height":8,"width":8,"invert":true}'
        assert model.metadata_props.pop().key == CHECKSUM
        (tmp_path / "edited.onnx").write_bytes(with_checksum(model.SerializeToString()))
        with pytest.raises(DataError, match="its metadata do not fit it"):
            _ = OnnxModel.open(tmp_path / "edited.onnx").metadata


@pytest.mark.parametrize("flips", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_of_a_model_is_told(flips: int, exported: tuple[Path, Classifier], tmp_path: Path) -> None:
    """One of a weight or of a class's name gave other predictions without a word."""
    generator, content = random.Random(0), exported[0].read_bytes()
    tail = 8 * (len(content) - 100)
    for nth in range(flips):
        bit = generator.randrange(tail * (nth % 2), 8 * len(content))
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "damaged.onnx").write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged\.onnx"):
            _ = OnnxModel.open(tmp_path / "damaged.onnx").metadata


def test_a_model_of_the_older_schema_is_read(exported: tuple[Path, Classifier], tmp_path: Path) -> None:
    import onnx

    model = onnx.load(exported[0])
    assert model.metadata_props.pop().key == CHECKSUM
    for entry in model.metadata_props:
        if entry.key == "hnas.schema":
            entry.value = "1"
    onnx.save(model, tmp_path / "older.onnx")
    assert OnnxModel.open(tmp_path / "older.onnx").metadata == METADATA


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("hnas.classes", '["one"]', "expected the names of its classes"),
        ("hnas.classes", "not JSON", "its metadata are damaged"),
        ("hnas.schema", "3", "this hnas reads 2"),
        ("hnas.preparation", '{"channels": 2, "height": 8, "width": 8, "invert": true}', "not how hnas prepares"),
        ("hnas.preparation", '{"channels": 1}', "not how hnas prepares"),
    ],
)
def test_damaged_metadata_are_told(key: str, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        ModelMetadata.from_texts({**METADATA.to_texts(), key: text}, Path("m.onnx"))


def test_without_the_packages_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before a search of minutes, not after it."""
    monkeypatch.setattr(onnx_file, "NEEDED", ("onnx", "a_package_that_is_not_there"))
    assert not onnx_file.has_onnx()
    with pytest.raises(ConfigError, match="needs a_package_that_is_not_there") as told:
        write_onnx(network(), tmp_path / "m.onnx", METADATA)
    assert told.value.hint == "pip install 'hnas[onnx]'"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="cannot be imported"):
        onnx_session.onnxruntime()


@pytest.mark.parametrize(
    ("meta", "is_alone"),
    [
        ({"iteration": 8}, True),
        ({"iteration": 6}, False),
        ({"iteration": 6, "kept": {"stopped": 6, "iteration": 4, "accuracy": 0.5, "waited": 2}}, True),
    ],
)
def test_a_training_is_at_its_end_if_patience_ended_it(meta: dict[str, Any], is_alone: bool, tmp_path: Path) -> None:
    """The super-net's weights were exported in place of those that had been trained, without a word."""
    save_checkpoint(tmp_path, f"state-{meta['iteration']:08d}", {"w": torch.zeros(1)}, meta)
    alone: Any = SimpleNamespace(found=("found", None), folder=lambda name: tmp_path)
    config = Config(retrain=RetrainConfig(epochs=2, iterations=4))
    phases: Any = SimpleNamespace(alone=alone, config=config)
    assert is_retrained(phases) == is_alone
