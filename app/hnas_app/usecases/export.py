"""The network that a run found, as an ONNX model and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hnas.errors import DataError, quoted
from hnas_app.runs.run_dir import RunDir
from hnas_app.usecases.arguments import Caller, Given, WrongArgument, check_folder
from hnas_app.usecases.opening import asked
from hnas_app.usecases.own_task import read_task, recorded_pictures
from hnas_app.usecases.phases import AS_FOUND, Wanted

if TYPE_CHECKING:
    from hnas.architecture import Architecture
    from hnas_app.export.files import Subject
    from hnas_app.export.latency import LatencyCheck
    from hnas_app.export.onnx_file import OnnxFile
    from hnas_app.report.pictures import Tally
    from hnas_app.runs.pipeline import Pipeline

COMPARABLE = "x86"
"""The backend that measures this machine's processor."""


@frozen(kw_only=True)
class Exported:
    """The files of an exported network, and what it was adapted to."""

    architecture: Path
    model: OnnxFile
    subject: Subject
    latency: tuple[LatencyCheck, ...]
    """The latency of the model on this machine, if that was to be checked."""
    is_example: bool
    """Whether it was adapted to an example, since there were no pictures."""
    query: Tally | None = None
    """How many of the pictures in ``query/`` the network gets right, if there are any."""


def export(
    caller: Caller,
    path: Path,
    given: Given,
    *,
    pictures: Path | None = None,
    invert: bool | None = None,
    folder: Path | None = None,
    check: bool = False,
    wanted: Wanted = AS_FOUND,
) -> Exported:
    """Adapt the network that a run found to pictures, and write it into ``folder``, by default ``export/`` in the run.

    A ``wanted`` network has the super-net's weights, unless it is the one that was found.

    The pictures are those given, those that the run was made for, or else an example: the first validation task. With
    ``check`` the model's latency is measured. Raises `ConfigError` without ``hnas[onnx]``, and `DataError` for a run
    that has found nothing.
    """
    from hnas_app.export.files import MODEL, write_architecture, write_model
    from hnas_app.export.found_network import found_network
    from hnas_app.export.onnx_file import require_onnx
    from hnas_app.own_task.result import query_tally
    from hnas_app.own_task.steps import tuned

    require_onnx()
    path, other = wanted.of(path)
    if folder is not None and folder.suffix == ".onnx" and not folder.is_dir():
        raise WrongArgument("folder", f"{folder} names a file; expected a folder, into which {MODEL} is written")
    folder = folder or path / "export"
    check_folder(folder, "folder")
    if not RunDir.open(path).is_done("adapt"):
        raise DataError(f"{path} has found no network yet", hint=f"search for one: hnas adapt {quoted(path)}")
    asking = asked(caller, "export", path, given, only_read=True)
    if pictures is None and (recorded := recorded_pictures(path)):
        pictures, invert = recorded[0], recorded[1] if invert is None else invert
    task = read_task(caller, asking.own, asking.run, pictures, invert) if pictures else None
    with asking.at_work() as phases:
        setup, network, subject = found_network(phases, task, tuned, other)
        architecture = write_architecture(folder, setup, network, subject)
        written = write_model(folder / MODEL, setup, network, subject)
        latency = _latencies(caller, phases, network.arch, folder / MODEL) if check else ()
        query = query_tally(network, task[1]) if task else None
    return Exported(
        architecture=architecture, model=written, subject=subject, latency=latency, is_example=task is None, query=query
    )


def _latencies(caller: Caller, phases: Pipeline, arch: Architecture, model: Path) -> tuple[LatencyCheck, ...]:
    """Compare the model's latency with that of its layers, and with the run's table if that is of such a machine."""
    from hnas_app.export.latency import LatencyCheck, estimated, measured

    setup, backend = phases.setup, phases.config.backend
    table, layers = phases.profile(), setup.space.layers(arch, setup.image_shape, setup.n_way)
    measured_ms, call_ms = measured(model)
    estimates = {}
    own_runtime = backend.options if backend.name == COMPARABLE else None
    if own_runtime is not None:
        estimates[f"the run's table ({table.info.runtime})"] = phases.cost(arch)["latency"]
    else:
        caller.note(f"the run's table is of {table.info.device}; this machine's latency cannot be compared with it")
    if getattr(own_runtime, "runtime", "") != "onnxruntime":
        make = caller.registry.options_class("backend", COMPARABLE)
        layerwise = caller.registry.create("backend", COMPARABLE, make(runtime="onnxruntime"))
        estimates["its layers, measured now under onnxruntime"] = estimated(layerwise, layers)
    return tuple(
        LatencyCheck(measured_ms=measured_ms, call_ms=call_ms, against=against, estimate_ms=value)
        for against, value in estimates.items()
    )
