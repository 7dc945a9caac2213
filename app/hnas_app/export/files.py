"""The files of an export: the model, and the architecture as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import frozen

from hnas._version import __version__
from hnas.toolkit.codec import to_json
from hnas.toolkit.files import write_error, write_json
from hnas.toolkit.pictures import PictureTask, Preparation
from hnas_app.export.classifier import Classifier
from hnas_app.export.metadata import ModelMetadata
from hnas_app.export.onnx_file import OnnxFile, write_onnx
from hnas_app.training.setup.setup import Setup

MODEL, ARCHITECTURE = "model.onnx", "architecture.json"


@frozen(kw_only=True)
class Subject:
    """The exported network in words, for the model's metadata."""

    classes: tuple[str, ...]
    preparation: Preparation
    weights: str
    """``super-net`` or ``re-trained``, before they were adapted."""
    task: str
    """The task that they were adapted to."""


def told(task: PictureTask) -> str:
    """Return in words which task of a user's own a network was adapted to."""
    fewest = min(task.shots)
    return f"{f'{fewest} to {task.k_shot}' if fewest < task.k_shot else fewest} pictures of each class"


def write_architecture(folder: Path, setup: Setup, network: Classifier, subject: Subject) -> Path:
    """Write the architecture: its genes and options, and its layers as hardware sees them."""
    space, arch = setup.space, network.arch
    layers = space.layers(arch, subject.preparation.shape, len(subject.classes))
    record: dict[str, Any] = {
        "schema": 1,
        "hnas": __version__,
        **to_json(arch),
        "options": space.options(arch),
        "input_shape": list(subject.preparation.shape),
        "classes": list(subject.classes),
        "params": sum(layer.params for layer in layers),
        "macs": sum(layer.macs for layer in layers),
        "layers": to_json(layers),
    }
    path = folder / ARCHITECTURE
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise write_error(path, cause) from cause
    write_json(path, record)
    return path


def write_model(path: Path, setup: Setup, network: Classifier, subject: Subject) -> OnnxFile:
    """Write the network as an ONNX model, and check it. Raises `ConfigError` without ``hnas[onnx]``."""
    origin = {
        "hnas": __version__,
        "space": setup.space.name,
        "weights": subject.weights,
        "task": subject.task,
        "normalised_by": "statistics of the labelled images, fixed",
    }
    options = setup.space.options(network.arch)
    metadata = ModelMetadata(
        classes=subject.classes, preparation=subject.preparation, architecture=options, origin=origin
    )
    return write_onnx(network, path, metadata)
