"""Options that several commands share, and how they become one `Given`."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnas.layer import Shape
from hnas_app.cli import completion
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import note
from hnas_app.usecases.arguments import Caller, Given

if TYPE_CHECKING:
    from hnas_app.config.schema import LoadedConfig

Command = Callable[..., None]

BACKEND = "Hardware backend, as in arm:pi4; or ./file.py:Class, module:Class."
LIMITS = "Such as latency:0.05ms, the same as 'latency<=0.05ms'; to hold together: params:70K,macs:2M."
SHARED: dict[str, tuple[Any, str | None, str]] = {
    "space": (str, "NAME", "Search space."),
    "learner": (str, "NAME", "Meta-learner."),
    "backend": (str, "NAME[:DEVICE]", BACKEND),
    "device": (str, "DEVICE", "Device of the backend: the long form of NAME:DEVICE."),
    "strategy": (str, "NAME", "Search strategy."),
    "tasks": (str, "NAME", "Source of few-shot tasks."),
    "data_root": (str, "DIR", "Where the data set is; short for --set tasks.root=DIR."),
    "preset": (str, "NAME", "Budget; none: plain defaults."),
    "config": (Path, "FILE", "TOML file; see `hnas config init`."),
    "set": (list[str], "KEY=VALUE", "Set any key, such as space.downsample=pool; may be repeated."),
    "constraint": (list[str], "LIMITS", LIMITS),
    "seed": (int, "INTEGER", "Root of all randomness."),
    "workers": (int, "INTEGER", "Workers; 0 takes one per core."),
    "executor": (str, "KIND", "Where work runs: local, threads, processes, ray or ray://HOST:PORT."),
    "accelerator": (str, "NAME", "Where networks are computed: cpu, cuda or cuda:N."),
}
"""The options that make a `Given`: the type, the placeholder of the value in the help, and the help text of each."""
SHORT = {
    "space": "-s", "backend": "-b", "preset": "-p", "constraint": "-c", "tasks": "-t", "workers": "-w", "set": "-x",
}  # fmt: skip
"""Short forms of the options that are typed most."""


def whole(text: str) -> int:
    """Read a whole number; Python's own reading would take the digits of any alphabet."""
    if not re.fullmatch(r"[+-]?[0-9]{1,40}", str(text)):
        raise typer.BadParameter(f"{text!r} is not a valid integer")
    return int(text)


BackendsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        SHORT["backend"],
        metavar="NAME[:DEVICE]",
        autocompletion=completion.completes("backend"),
        help=f"{BACKEND} Repeated: a sweep over all of them.",
    ),
]
ConstraintsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--constraint", SHORT["constraint"], metavar="LIMITS", help=f"{LIMITS} Repeated: a sweep over all sets."
    ),
]
RunDirOption = Annotated[
    Path | None,
    typer.Option(
        "--run-dir", "-d", metavar="DIR", help="Run directory; an earlier run in it goes on where it stopped."
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", "-n", metavar="NAME", help="Name of the run: its folder is runs/NAME.")
]


def run_path(text: str) -> Path:
    """Return the folder of a run that is given by its path, its name in ``runs/``, or its id."""
    from hnas_app.runs.run_list import run_named

    return run_named(str(text))


def run_argument(help_: str) -> Any:
    """Declare an argument for a run, or several."""
    return typer.Argument(metavar="RUN", parser=run_path, autocompletion=completion.runs, help=help_)


RunArgument = Annotated[Path, run_argument("Run directory, or a name or id from `hnas runs`.")]
RunsArgument = Annotated[list[Path], run_argument("Run directories, or names or ids from `hnas runs`.")]
SuperNetArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="Run directory, a name or id from `hnas runs`, or the name of a super-net from `hnas supernets list`.",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
InvertOption = Annotated[
    bool | None,
    typer.Option("--invert/--no-invert", help="Turn dark into bright, or not; default: as for the super-net's images."),
]
PickOption = Annotated[
    int | None,
    typer.Option(
        "--pick", metavar="NUMBER", parser=whole, help="Take this network of the search, by its number in the table."
    ),
]
ArchOption = Annotated[
    str | None,
    typer.Option("--arch", metavar="NETWORK", help="Take this network: choice=option,…, a reference's name, or genes."),
]
LogOption = Annotated[
    list[str] | None,
    typer.Option("--log", metavar="NAME", help="Show the run elsewhere, too: tensorboard, mlflow; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
InputOption = Annotated[
    str | None, typer.Option("--input", metavar="CxHxW", help="Channels, height and width of an image, as in 3x84x84.")
]


def takes(*names: str) -> Callable[[Command], Command]:
    """Let a command take `SHARED` options by name; it is called with one ``given`` that holds them all.

    The names are in the order of the help; parameters of the command may be among them. Its other parameters come
    before them if they are required, else after them.
    """

    def decorate(command: Command) -> Command:
        own = {n: p for n, p in inspect.signature(command, eval_str=True).parameters.items() if n != "given"}
        shared = {name: _parameter(name) for name in names if name not in own}
        unnamed = [p for n, p in own.items() if n not in names]
        placed = [
            *(p for p in unnamed if p.default is p.empty),
            *((own | shared)[name] for name in names),
            *(p for p in unnamed if p.default is not p.empty),
        ]

        @functools.wraps(command)
        def called(**values: Any) -> None:
            given = _given({name: values.pop(name) for name in shared})
            command(given=given, **values)

        # typer reads this; parameters that are keywords may stand in any order.
        signature = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in placed])
        called.__dict__["__signature__"] = signature
        called.__annotations__ = {n: p.annotation for n, p in signature.parameters.items()}
        return called

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    kind, metavar, help_ = SHARED[name]
    parser = whole if kind is int else None
    flags = [f"--{name.replace('_', '-')}", *([SHORT[name]] if name in SHORT else [])]
    default = typer.Option(
        None, *flags, metavar=metavar, help=help_, parser=parser, autocompletion=completion.completes(name)
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind | None)


def _given(values: dict[str, Any]) -> Given:
    texts, constraint = values.pop("set", None), values.pop("constraint", None)
    return Given(by_flags=True, **values, sets=_sets(texts or ()), constraints=limits(constraint))


def folder_of(run_dir: Path | None, name: str | None) -> Path | None:
    """Return the run directory of ``--run-dir`` or ``--name``. Raises a usage error for both, or for no fit name."""
    if name is None:
        return run_dir
    if run_dir is not None:
        raise typer.BadParameter("takes the place of --run-dir", param_hint="--name")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,59}", name):
        raise typer.BadParameter(f"{name!r} is not a name of letters, digits, '-', '_' and '.'", param_hint="--name")
    return Path("runs") / name


def new_folder_of(name: str | None) -> Path | None:
    """Return the folder of a new run by ``--name``. Raises a usage error if there is one already."""
    folder = folder_of(None, name)
    if folder is not None and folder.exists():
        raise typer.BadParameter(
            f"{folder} is there already; `hnas adapt {folder}` goes on with a run in it", param_hint="--name"
        )
    return folder


def load(call: Invocation, given: Given, run_dir: Path | None = None) -> LoadedConfig:
    """Resolve the options of a command; notes go to standard error. Raises `ConfigError` and `PluginError`."""
    return Caller(registry=call.registry, note=note).load(given, run_dir=run_dir)


def limits(constraint: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the single limits of ``--constraint``. Raises a usage error if it was given several times."""
    if not constraint:
        return None
    if len(constraint) > 1:
        raise typer.BadParameter(
            f"given {len(constraint)} times; limits that must all hold are joined by a comma, as in "
            f"'{','.join(constraint)}' (only `hnas adapt` takes it repeatedly, and searches once for each)",
            param_hint="--constraint",
        )
    from hnas_app.costs.limits import split_limits

    return split_limits(constraint[0])


def _sets(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return keys and texts of ``--set``. Raises a usage error for one without an equals sign."""
    pairs = [(key.strip(), equals, value.strip()) for key, equals, value in (t.partition("=") for t in texts)]
    for text, (key, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not key:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE, as in space.downsample=pool", param_hint="--set")
    return tuple((key, value) for key, _, value in pairs)


def input_shape(text: str | None) -> Shape | None:
    """Read ``3x84x84``, if it was given. Raises a usage error on anything else."""
    if text is None:
        return None
    if match := re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text.strip().lower()):
        channels, height, width = map(int, match.groups())
        return channels, height, width
    raise typer.BadParameter(f"{text!r} is not channels x height x width, as in 3x84x84", param_hint="--input")
