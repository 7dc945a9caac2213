"""``hnas predict``: classify pictures with an exported model, each one alone. Imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnas.errors import DataError
from hnas_app.cli.invocation import invocation
from hnas_app.cli.options import JsonOption
from hnas_app.cli.output import print_json, print_table

if TYPE_CHECKING:
    from hnas_app.usecases.predict import Prediction


def predict(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file that hnas exported.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to classify.")],
    as_json: JsonOption = False,
) -> None:
    """Classify pictures with an exported model: class and probability of each.

    A picture that cannot be read is reported, and the others are still classified; the exit code is then 3.
    """
    from hnas_app.usecases.predict import predict as classify

    found = list(classify(invocation(ctx).registry, model, images))
    if as_json:
        print_json([_row(p) for p in found])
    elif good := [(str(p.image), p.best, f"{p.probabilities[p.best]:.4f}") for p in found if p.error is None]:
        print_table(("image", "class", "probability"), good)
    for failed in (p for p in found if p.error is not None):
        print(f"error: {failed.image}: {failed.error}", file=sys.stderr)
    if any(p.error is not None for p in found):
        raise typer.Exit(DataError.exit_code)


def _row(found: Prediction) -> dict[str, Any]:
    if found.error is not None:
        return {"image": str(found.image), "error": found.error}
    return {
        "image": str(found.image),
        "class": found.best,
        "probability": found.probabilities[found.best],
        "probabilities": found.probabilities,
    }
