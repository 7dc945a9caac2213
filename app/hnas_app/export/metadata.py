"""The metadata of an exported model: its classes, how pictures are prepared, its architecture.

ONNX metadata are texts by name. These are JSON, so that any program can read them. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Attribute, field, fields_dict, frozen

from hnas.architecture import Option
from hnas.errors import DataError, short
from hnas.toolkit.codec import from_json, to_json
from hnas.toolkit.pictures import Preparation

SCHEMA = 1


def _classes(metadata: ModelMetadata, attribute: Attribute[tuple[str, ...]], names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise ValueError(f"expected the names of its classes, got {short(names)}")


@frozen(kw_only=True)
class ModelMetadata:
    """All that is needed to use a model: output ``i`` belongs to ``classes[i]``."""

    schema: int = SCHEMA
    classes: tuple[str, ...] = field(validator=_classes)
    preparation: Preparation
    architecture: Mapping[str, Option]
    """The options of the network, by choice."""
    origin: Mapping[str, Any]
    """The version of hnas that made it, the space, the weights and the task."""

    def to_texts(self) -> dict[str, str]:
        """Return the texts of a model's metadata, by name."""
        return {f"hnas.{key}": json.dumps(v, ensure_ascii=False) for key, v in to_json(self).items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], path: Path) -> ModelMetadata:
        """Read what `to_texts` wrote into the model ``path``. Raises `DataError` if hnas did not make it."""
        missing = [f"hnas.{key}" for key in fields_dict(cls) if f"hnas.{key}" not in texts]
        if missing:
            raise DataError(
                f"{path} is an ONNX model, but none that hnas exported: its metadata have no {missing[0]}",
                hint="`hnas adapt RUN --pictures DIR --export model.onnx` makes one",
            )
        try:
            values = {key: json.loads(texts[f"hnas.{key}"]) for key in fields_dict(cls)}
        except ValueError as cause:
            raise DataError(f"{path}: its metadata are damaged: {cause}") from cause
        return from_json(values, cls, str(path), hint="export it again with this version of hnas")
