"""Classify pictures with an exported model, each one alone. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from hnas.discovery import Registry
from hnas.errors import DataError
from hnas_app.usecases.own_task import picture_source


@frozen(kw_only=True)
class Prediction:
    """The class of a picture, or why it could not be read."""

    image: Path
    probabilities: Mapping[str, float]
    """By class; empty for a picture that could not be read."""
    error: str | None = None

    @property
    def best(self) -> str:
        """The likeliest class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


def predict(registry: Registry, model: Path, images: Sequence[Path]) -> Iterator[Prediction]:
    """Yield the prediction for each picture. Raises `DataError` for a model that hnas did not export."""
    from hnas_app.export.onnx_session import OnnxModel

    network = OnnxModel.open(model)
    classes = network.metadata.classes
    source = picture_source(registry, network.metadata.preparation)
    for path in images:
        try:
            shares = network.probabilities(source.read(path))
        except DataError as cause:
            yield Prediction(image=path, probabilities={}, error=str(cause).removeprefix(f"{path}: "))
            continue
        yield Prediction(image=path, probabilities={n: float(p) for n, p in zip(classes, shares, strict=True)})
