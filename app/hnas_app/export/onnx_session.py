"""Running exported models with onnxruntime (``hnas[onnx]``). Imports no torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define

from hnas.errors import ConfigError, DataError
from hnas_app.export.metadata import ModelMetadata, check_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUT, OUTPUT = "image", "logits"
"""The names of a model's input (N, C, H, W) and output (N, class)."""


@define(eq=False, slots=False)
class OnnxModel:
    """A model that hnas exported, ready to run on one thread."""

    path: Path
    session: Any

    @classmethod
    def open(cls, path: Path) -> OnnxModel:
        """Open a file. Raises `DataError` if it is no ONNX model, and `ConfigError` without onnxruntime."""
        ort = onnxruntime()
        if not path.is_file():
            raise DataError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
        check_model(path, needed=False)  # before a parser of C++ sees it
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # The level that the x86 backend measures layers at, so that latencies can be compared.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as cause:  # its errors have no common root of their own
            told = " ".join(str(cause).split())[:300]
            raise DataError(f"{path} is not a model that onnxruntime {ort.__version__} can run: {told}") from cause
        return cls(path, session)

    @cached_property
    def metadata(self) -> ModelMetadata:
        """The model's metadata. Raises `DataError` if hnas did not make it."""
        try:
            texts = self.session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as cause:
            raise DataError(f"{self.path}: its metadata are damaged: {cause}") from cause
        found = ModelMetadata.from_texts(texts, self.path)
        check_model(self.path, needed=texts["hnas.schema"] == str(found.schema))
        (taken,), (given,) = self.session.get_inputs(), self.session.get_outputs()
        wanted, n_classes = list(found.preparation.shape), len(found.classes)
        if list(taken.shape[1:]) != wanted or list(given.shape[1:]) != [n_classes]:
            raise DataError(
                f"{self.path}: its metadata do not fit it: images of {wanted} and {n_classes} classes, but it takes "
                f"{taken.shape} and gives {given.shape}"
            )
        return found

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (N, class) of images (N, C, H, W)."""
        found: NDArray[np.float32] = self.session.run([OUTPUT], {INPUT: images})[0]
        return found

    def probabilities(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of each class for one image (C, H, W)."""
        import numpy as np

        logits = self.logits(image[None])[0].astype(np.float64)
        shares = np.exp(logits - logits.max())
        found: NDArray[np.float64] = shares / shares.sum()
        return found


def onnxruntime() -> Any:
    """Import onnxruntime. Raises `ConfigError` with a hint on how to install it."""
    try:
        import onnxruntime as ort
    except ImportError as cause:
        raise ConfigError(
            f"models run on onnxruntime, which cannot be imported: {cause}", hint="pip install 'hnas[onnx]'"
        ) from cause
    return ort
