"""``hnas adapt --pictures``: from a folder with a few labelled pictures to a network that classifies more of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import frozen

from hnas.toolkit.codec import save, to_json
from hnas.toolkit.files import read_json, write_bytes, write_json
from hnas_app.cli import options
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import note, print_json, say_next
from hnas_app.runs.run_dir import RunDir

if TYPE_CHECKING:
    from hnas.toolkit.pictures import PictureTask
    from hnas_app.config.schema import LoadedConfig
    from hnas_app.own_task.result import PictureResult

PicturesOption = Annotated[
    Path | None,
    typer.Option("--pictures", metavar="DIR", help="Adapt to your own task: DIR/CLASS/* are its labelled pictures."),
]
InvertOption = Annotated[
    bool | None,
    typer.Option(
        "--invert/--no-invert", help="Dark becomes bright, or not; default: as the super-net's drawings were."
    ),
]
ExportOption = Annotated[
    Path | None,
    typer.Option("--export", metavar="FILE", help="Write the adapted network as an ONNX model; hnas[onnx]."),
]
RetrainOption = Annotated[
    bool, typer.Option("--retrain", help="Train the chosen network alone before adapting it, as the paper does.")
]

RECORD, RESULT = "pictures.json", "task.json"


@frozen(kw_only=True)
class OwnTask:
    """The flags of ``hnas adapt`` that are for a task of the user's own."""

    pictures: Path | None
    invert: bool | None
    retrain: bool
    export: Path | None

    def is_meant(self, run: Path) -> bool:
        """Tell whether to adapt to pictures: by a flag, or in a run that was made for some.

        Raises a usage error where the other flags make no sense without ``--pictures``.
        """
        if self.pictures is not None or recorded_pictures(run):
            return True
        others = {"--invert": self.invert is not None, "--retrain": self.retrain, "--export": self.export is not None}
        if lonely := [flag for flag, given in others.items() if given]:
            raise typer.BadParameter("needs --pictures DIR", param_hint=lonely[0])
        return False


def recorded_pictures(run: Path) -> tuple[Path, bool] | None:
    """Return the folder that a run was made for and whether its pictures are inverted; ``None`` for other runs."""
    path = run / RECORD
    if not path.is_file():
        return None
    record = read_json(path)
    return Path(record["root"]), bool(record["preparation"]["invert"])


def adapt_to_pictures(
    call: Invocation,
    path: Path,
    wanted: OwnTask,
    *,
    as_json: bool,
    sets: Sequence[str] | None,
    same_results: Mapping[str, Any],
    **flags: Any,
) -> None:
    """Search for a task of the user's own, adapt the weights to it and export them, in a run beside ``path``.

    ``same_results`` are the flags that results do not depend on. With the run that was made for the same pictures and
    settings it goes on there.
    """
    from hnas_app.cli.phases import continued
    from hnas_app.cli.task_folder import read_task
    from hnas_app.export.files import ARCHITECTURE, MODEL, Subject, write_architecture, write_model
    from hnas_app.export.onnx_file import has_onnx, require_onnx
    from hnas_app.own_task.choose import choose
    from hnas_app.own_task.result import finish

    if wanted.export is not None:
        require_onnx()  # before a search, not after it
    run = RunDir.open(path)
    pictures, invert = wanted.pictures, wanted.invert
    if recorded := recorded_pictures(path):
        pictures = pictures or recorded[0]
        invert = recorded[1] if invert is None else invert
    assert pictures is not None
    own = options.load(call, config=run.config_path)
    preparation, task = read_task(call, own, run, pictures, invert)
    size = [f"task.n_way={task.n_way}", f"task.k_shot={task.k_shot}"]
    loaded = options.load(call, config=run.config_path, sets=[*(sets or ()), *size], **flags)
    record = {
        "schema": 1,
        "root": str(pictures.resolve()),
        "classes": list(task.classes),
        "preparation": to_json(preparation),
        "digest": task.digest,
    }
    if loaded.config != own.config or not _is_of(run, record):
        run = _branch(call, run, own, loaded, task)
        write_json(run.path / RECORD, record)
    with continued(call, "adapt", run.path, **same_results) as phases:
        network, result = finish(phases, task, *choose(phases, task), alone=wanted.retrain)
        setup = phases.setup
    folder = run.path / "export"
    subject = Subject(
        classes=task.classes,
        preparation=preparation,
        weights="re-trained" if wanted.retrain else "super-net",
        task=f"{task.k_shot} pictures of each class",
    )
    save(run.path / RESULT, result)
    write_architecture(folder, setup, network, subject)
    written = write_model(folder / MODEL, setup, network, subject) if wanted.export or has_onnx() else None
    model = wanted.export or folder / MODEL
    if wanted.export is not None:
        write_bytes(wanted.export, (folder / MODEL).read_bytes())
    if as_json:
        return print_json({"run": str(run.path), "model": written and to_json(written), **to_json(result)})
    _show(result)
    print(f"architecture: {folder / ARCHITECTURE}")
    if written is None:
        return say_next(f"pip install 'hnas[onnx]', then hnas export {run.path}")
    print(f"model: {model} (ONNX opset {written.opset}, within {written.difference:.1g} of torch)")
    say_next(f"hnas predict {model} IMAGE")


def _is_of(run: RunDir, record: Mapping[str, Any]) -> bool:
    """Tell whether a run was made for exactly these pictures."""
    path = run.path / RECORD
    return path.is_file() and {**read_json(path), "root": record["root"]} == record


def _branch(call: Invocation, run: RunDir, own: LoadedConfig, loaded: LoadedConfig, task: PictureTask) -> RunDir:
    """Make a run for a task beside the super-net's, whose super-net it takes over, for as many classes as it needs."""
    new = run.branch(loaded.config)
    note(f"a new run, {new.path}, starts from the super-net of {run.path}")
    if task.n_way < own.config.task.n_way:
        from hnas.seeds import Seeds
        from hnas_app.own_task.choose import fit_super_net
        from hnas_app.training.setup.setup import Setup

        trained = Setup(
            space=options.create(call, own, "space"),
            learner=options.create(call, own, "learner"),
            tasks=options.create(call, own, "tasks"),
            n_way=own.config.task.n_way,
            k_shot=own.config.task.k_shot,
            seeds=Seeds(own.config.seed),
        )
        fit_super_net(new, trained, task.n_way)
        note(f"of the super-net's {trained.n_way} outputs the first {task.n_way} serve")
    return new


def _show(result: PictureResult) -> None:
    """Print what was chosen and how well it does."""
    from hnas_app.report.networks import describe

    print(f"found: {describe(result.options)}")
    costs = ", ".join(f"{m.name} {result.cost[m.name]:.5g} {m.unit}".rstrip() for m in result.metrics)
    print(f"costs: {costs}; limits: {', '.join(result.limits)}")
    print(f"chosen by: {result.fitness}, {result.loss:.4f} nats")
    if result.held_out is not None:
        print(f"held out: {result.held_out}; the choice saw them, so expect a little less")
    if result.query is not None:
        print(f"query: {result.query}")
    if result.held_out is result.query is None:
        print("no picture was left to test with: put some into query/CLASS/, or give more than one of each class")
