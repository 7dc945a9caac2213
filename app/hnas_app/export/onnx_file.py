"""Write a classifier as an ONNX model, and check its logits against torch's (``hnas[onnx]``)."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hnas.errors import ConfigError, HnasError
from hnas.toolkit.files import write_bytes
from hnas_app.export.classifier import Classifier
from hnas_app.export.metadata import ModelMetadata, with_checksum
from hnas_app.export.onnx_session import INPUT, OUTPUT, OnnxModel

if TYPE_CHECKING:
    from torch import Tensor

OPSET = 18
"""The model's version of ONNX operators: onnxruntime runs it from 1.14 on."""
TOLERANCE = 1e-4
"""How much a logit may differ from torch's, relative to the largest if that is above 1."""
NEEDED = ("onnx", "onnxruntime", "onnxscript")
CHECKED = 16
"""Random images that the check takes."""


@frozen(kw_only=True)
class OnnxFile:
    """A model that was written and checked."""

    path: str
    opset: int
    bytes: int
    difference: float
    """The largest difference of a logit from torch's, over random images."""


def has_onnx() -> bool:
    """Return whether models can be written here."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def require_onnx() -> None:
    """Raise `ConfigError` unless models can be written; called before a search, not after it."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"writing ONNX models needs {', '.join(missing)}", hint="pip install 'hnas[onnx]'")


def write_onnx(network: Classifier, path: Path, metadata: ModelMetadata) -> OnnxFile:
    """Write ``path`` and check it. Raises `ConfigError` without the packages, `HnasError` if the check fails.

    The model takes any number of images, ``image`` (N, C, H, W) prepared as its metadata say, and gives ``logits``
    (N, class); their softmax are the probabilities.
    """
    require_onnx()
    content = _model(network, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return OnnxFile(path=str(path), opset=OPSET, bytes=len(content), difference=_difference(network, path, metadata))


def _model(network: Classifier, metadata: ModelMetadata) -> bytes:
    import torch

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = torch.nn.ParameterDict()

        def forward(self, image: Tensor) -> Tensor:
            return network.logits(image)

    example = torch.zeros(2, *metadata.preparation.shape)
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                Module().eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1)}},
                verbose=False,
            )
    except Exception as failed:
        cause: BaseException | None = failed
        while cause is not None and not isinstance(cause, HnasError):  # torch wraps what a learner refuses
            cause = cause.__cause__
        raise cause or failed  # noqa: B904 - the cause itself
    finally:
        exporter.setLevel(level)
    model = program.model_proto
    del model.metadata_props[:]
    for key, text in metadata.to_texts().items():
        model.metadata_props.add(key=key, value=text)
    return with_checksum(model.SerializeToString())


def _difference(network: Classifier, path: Path, metadata: ModelMetadata) -> float:
    """Return the largest difference from torch over random images, one alone and several. Raises `HnasError`."""
    import torch

    x = torch.rand(CHECKED, *metadata.preparation.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.logits(x)
    model = OnnxModel.open(path)
    _ = model.metadata
    found = torch.from_numpy(model.logits(x.numpy()))
    one = torch.from_numpy(model.logits(x[:1].numpy()))
    worst = max(float((found - expected).abs().max()), float((one - expected[:1]).abs().max()))
    scale = max(1.0, float(expected.abs().max()))
    if not worst <= TOLERANCE * scale:
        raise HnasError(
            f"{path} and torch disagree: a logit differs by {worst:.2g}, expected at most {TOLERANCE * scale:.2g}",
            hint="other versions of onnx, onnxscript and onnxruntime may; constraints.txt names some that do",
        )
    return worst
