"""``hnas predict``: classify pictures with an exported model, each one alone. Imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hnas.errors import DataError
from hnas_app.cli.invocation import invocation
from hnas_app.cli.options import JsonOption
from hnas_app.cli.output import print_json, print_table


def predict(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file that hnas exported.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to classify.")],
    as_json: JsonOption = False,
) -> None:
    """Classify pictures with an exported model: class and probability of each.

    A picture that cannot be read is named, and the others are classified all the same; the exit code is then 3.
    """
    from hnas_app.cli.task_folder import picture_source
    from hnas_app.export.onnx_session import OnnxModel

    network = OnnxModel.open(model)
    classes = network.metadata.classes
    source = picture_source(invocation(ctx).registry, network.metadata.preparation)
    rows: list[dict[str, Any]] = []
    for path in images:
        try:
            shares = network.probabilities(source.read(path))
        except DataError as cause:
            rows.append({"image": str(path), "error": str(cause).removeprefix(f"{path}: ")})
            continue
        best = int(shares.argmax())
        probabilities = {name: float(p) for name, p in zip(classes, shares, strict=True)}
        rows.append(
            {
                "image": str(path),
                "class": classes[best],
                "probability": float(shares[best]),
                "probabilities": probabilities,
            }
        )
    failed = [row for row in rows if "error" in row]
    if as_json:
        print_json(rows)
    elif good := [(row["image"], row["class"], f"{row['probability']:.4f}") for row in rows if "error" not in row]:
        print_table(("image", "class", "probability"), good)
    for row in failed:
        print(f"error: {row['image']}: {row['error']}", file=sys.stderr)
    if failed:
        raise typer.Exit(DataError.exit_code)
