"""``hnas export``: the network that a run found, as an ONNX model and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hnas.errors import DataError
from hnas_app.cli import options
from hnas_app.cli.commands.adapt import RunArgument
from hnas_app.cli.commands.pictures import InvertOption, recorded_pictures
from hnas_app.cli.invocation import Invocation, invocation
from hnas_app.cli.output import note, print_json, say_next

if TYPE_CHECKING:
    from hnas.architecture import Architecture
    from hnas_app.config.schema import LoadedConfig
    from hnas_app.export.latency import LatencyCheck
    from hnas_app.runs.pipeline import Pipeline

COMPARABLE = "x86"
"""The backend that measures this machine's processor."""


def export(
    ctx: typer.Context,
    run: RunArgument,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", metavar="DIR", help="Adapt to your own task first: DIR/CLASS/* are its pictures."),
    ] = None,
    invert: InvertOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the files; default: export/ in the run.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Also measure the model's latency, and compare it with the cost table's.")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write the network that a run found as an ONNX model and as JSON.

    A few-shot network is one only once it was adapted: to --pictures, or those that the run was made for; else to an
    example, the first validation task. It has the re-trained weights where there are some, else the super-net's.
    """
    from hnas.toolkit.codec import to_json
    from hnas_app.cli.phases import continued
    from hnas_app.cli.task_folder import read_task
    from hnas_app.export.files import MODEL, write_architecture, write_model
    from hnas_app.export.found_network import found_network
    from hnas_app.export.onnx_file import require_onnx
    from hnas_app.runs.run_dir import RunDir

    require_onnx()
    opened = RunDir.open(run)
    if not opened.is_done("adapt"):
        raise DataError(f"{run} has found no network yet", hint=f"search for one: hnas adapt {run}")
    call = invocation(ctx)
    loaded = options.load(call, config=opened.config_path, only_read=True)
    if pictures is None and (recorded := recorded_pictures(run)):
        pictures, invert = recorded[0], recorded[1] if invert is None else invert
    given = read_task(call, loaded, opened, pictures, invert) if pictures else None
    with continued(call, "export", run) as phases:
        setup, network, subject = found_network(phases, given)
        folder = out or run / "export"
        architecture = write_architecture(folder, setup, network, subject)
        written = write_model(folder / MODEL, setup, network, subject)
        checks = _latencies(call, loaded, phases, network.arch, folder / MODEL) if check else []
    if as_json:
        latencies = [{**to_json(c), "ratio": c.ratio} for c in checks]
        return print_json({"architecture": str(architecture), "model": to_json(written), "latency": latencies})
    print(f"architecture: {architecture}")
    print(f"model: {written.path} (ONNX opset {written.opset}, within {written.difference:.1g} of torch)")
    print(f"adapted to {subject.task}, from the {subject.weights}'s weights; classes: {', '.join(subject.classes)}")
    for latency in checks:
        print(latency)
    if given is None:
        return say_next(f"hnas export {run} --pictures DIR for a task of your own")
    say_next(f"hnas predict {written.path} IMAGE")


def _latencies(
    call: Invocation, loaded: LoadedConfig, phases: Pipeline, arch: Architecture, model: Path
) -> list[LatencyCheck]:
    """Compare the model's latency with the run's table where that is of this kind of machine, and with its layers'."""
    from hnas_app.export.latency import LatencyCheck, estimated, measured

    setup = phases.setup
    table, layers = phases.profile(), setup.space.layers(arch, setup.image_shape, setup.n_way)
    measured_ms, call_ms = measured(model)
    estimates = {}
    own_runtime = loaded.config.backend.options if loaded.config.backend.name == COMPARABLE else None
    if own_runtime is not None:
        estimates[f"the run's table ({table.info.runtime})"] = phases.cost(arch)["latency"]
    else:
        note(f"the run's table is of {table.info.device}, which this machine's latency says nothing of")
    if getattr(own_runtime, "runtime", "") != "onnxruntime":
        make = call.registry.options_class("backend", COMPARABLE)
        backend = call.registry.create("backend", COMPARABLE, make(runtime="onnxruntime"))
        estimates["its layers, measured now under onnxruntime"] = estimated(backend, layers)
    return [
        LatencyCheck(measured_ms=measured_ms, call_ms=call_ms, against=against, estimate_ms=value)
        for against, value in estimates.items()
    ]
