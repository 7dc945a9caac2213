"""The metadata of an exported model: its classes, how pictures are prepared, its architecture.

ONNX metadata are texts by name. These are JSON, so that any program can read them. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Attribute, field, fields_dict, frozen

from hnas.architecture import Option
from hnas.errors import DataError, short
from hnas.toolkit.codec import from_json, to_json
from hnas.toolkit.files import parse_json, read_bytes
from hnas.toolkit.pictures import Preparation

SCHEMA = 2
AGAIN = "export it again with this version of hnas"
CHECKSUM = "hnas.checksum"
"""The last of a model's metadata: the SHA-256 of all bytes before it. Models of schema 1 have none."""


def _classes(metadata: ModelMetadata, attribute: Attribute[tuple[str, ...]], names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise ValueError(f"expected the names of its classes, got {short(names)}")


@frozen(kw_only=True)
class ModelMetadata:
    """All that is needed to use a model: output ``i`` belongs to ``classes[i]``."""

    schema: int = field(default=SCHEMA, metadata={"unsealed": 1})
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
            values = {key: parse_json(texts[f"hnas.{key}"]) for key in fields_dict(cls)}
        except ValueError as cause:
            raise DataError(f"{path}: its metadata are damaged: {cause}") from cause
        return from_json(values, cls, str(path), hint=AGAIN)


def with_checksum(model: bytes) -> bytes:
    """Return an ONNX model with its checksum as a further entry of its metadata; protobuf lets entries be appended."""
    return model + _entry(hashlib.sha256(model).hexdigest())


def check_model(path: Path, *, needed: bool) -> None:
    """Raise `DataError` if the checksum of a model does not hold, or is missing though it is ``needed``."""
    content, length = read_bytes(path, 1 << 30), len(_entry("0" * 64))
    if (needed or CHECKSUM.encode() in content[-length:]) and with_checksum(content[:-length]) != content:
        raise DataError(f"{path} is damaged or was edited: its checksum does not hold, or is missing", hint=AGAIN)


def _entry(digest: str) -> bytes:
    """Encode an entry of ``ModelProto.metadata_props``: field 14, of the fields 1 (key) and 2 (value)."""
    pair = b"".join(bytes([tag, len(text)]) + text.encode() for tag, text in ((0x0A, CHECKSUM), (0x12, digest)))
    return bytes([0x72, len(pair)]) + pair
