"""What stands in an exported model beside the network: its classes, how pictures are prepared, its architecture.

ONNX metadata are texts by name. These are JSON, so that any program can read them. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.architecture import Option
from hnas.errors import DataError
from hnas.toolkit.pictures import Preparation

SCHEMA = 1
_KEYS = ("hnas.schema", "hnas.classes", "hnas.preparation", "hnas.architecture", "hnas.origin")


@frozen(kw_only=True)
class ModelMetadata:
    """All that is needed to use a model: output ``i`` belongs to ``classes[i]``."""

    classes: tuple[str, ...]
    preparation: Preparation
    architecture: Mapping[str, Option]
    """The options of the network, by choice."""
    origin: Mapping[str, Any]
    """Which version of hnas made it, of which space, from which weights and for which task."""

    def to_texts(self) -> dict[str, str]:
        """Return what goes into a model's metadata."""
        values = (SCHEMA, list(self.classes), self.preparation.to_json(), dict(self.architecture), dict(self.origin))
        return {key: json.dumps(v, ensure_ascii=False) for key, v in zip(_KEYS, values, strict=True)}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], path: Path) -> ModelMetadata:
        """Read what `to_texts` wrote into the model ``path``. Raises `DataError` where hnas did not make it."""
        missing = [key for key in _KEYS if key not in texts]
        if missing:
            raise DataError(
                f"{path} is an ONNX model, but none that hnas exported: its metadata have no {missing[0]}",
                hint="`hnas adapt RUN --pictures DIR --export model.onnx` makes one",
            )
        try:
            schema, classes, preparation, architecture, origin = (json.loads(texts[key]) for key in _KEYS)
        except ValueError as cause:
            raise DataError(f"{path}: its metadata are damaged: {cause}") from cause
        if schema != SCHEMA:
            raise DataError(f"{path} has schema {schema!r}; this hnas reads {SCHEMA}", hint="upgrade hnas")
        if not (isinstance(classes, list) and len(classes) > 1 and all(isinstance(c, str) for c in classes)):
            raise DataError(f"{path}: its metadata are damaged: expected the names of its classes, got {classes!r}")
        if not all(isinstance(part, dict) for part in (preparation, architecture, origin)):
            raise DataError(f"{path}: its metadata are damaged: expected tables")
        return cls(
            classes=tuple(classes),
            preparation=Preparation.from_json(preparation, str(path)),
            architecture=architecture,
            origin=origin,
        )
