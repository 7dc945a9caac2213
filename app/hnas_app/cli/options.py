"""Options that several commands share, and the way from them to a resolved configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnas.layer import Shape
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import note
from hnas_app.usecases.arguments import Caller, Given

if TYPE_CHECKING:
    from hnas_app.config.schema import LoadedConfig

SpaceOption = Annotated[str | None, typer.Option("--space", metavar="NAME", help="Search space.")]
LearnerOption = Annotated[str | None, typer.Option("--learner", metavar="NAME", help="Meta-learner.")]
BackendOption = Annotated[
    str | None,
    typer.Option(
        "--backend", metavar="NAME[:DEVICE]", help="Hardware backend, as in arm:pi4; or ./file.py:Class, module:Class."
    ),
]
BackendsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="NAME[:DEVICE]",
        help="Hardware backend, as in arm:pi4; or ./file.py:Class, module:Class. Repeated: a sweep over all of them.",
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="DEVICE", help="Device of the backend: its long form for one backend.")
]
StrategyOption = Annotated[str | None, typer.Option("--strategy", metavar="NAME", help="Search strategy.")]
TasksOption = Annotated[str | None, typer.Option("--tasks", metavar="NAME", help="Source of few-shot tasks.")]
DataRootOption = Annotated[
    str | None,
    typer.Option("--data-root", metavar="DIR", help="Where the data set is; short for --set tasks.root=DIR."),
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="Budget: quick, small, paper, or none (plain defaults).")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file; see `hnas config init`.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any key, such as space.downsample=pool; may be repeated."),
]
ConstraintOption = Annotated[
    list[str] | None,
    typer.Option(
        "--constraint", metavar="LIMITS", help="Such as 'latency<=0.05ms' or, to hold together, 'params<=70K,macs<=2M'."
    ),
]
ConstraintsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--constraint",
        metavar="LIMITS",
        help="Such as 'latency<=0.05ms' or, to hold together, 'params<=70K,macs<=2M'. Repeated: a sweep over all sets.",
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Root of all randomness.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="Workers; 0 takes one per core.")]
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor", metavar="KIND", help="Where work runs: local, threads, processes, ray or ray://HOST:PORT."
    ),
]
AcceleratorOption = Annotated[
    str | None, typer.Option("--accelerator", metavar="NAME", help="Where networks are computed: cpu, cuda or cuda:N.")
]
RunDirOption = Annotated[
    Path | None,
    typer.Option("--run-dir", metavar="DIR", help="Run directory; goes on where it stopped if there is one already."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory; `hnas runs` lists them.")]
InvertOption = Annotated[
    bool | None,
    typer.Option(
        "--invert/--no-invert", help="Dark becomes bright, or not; default: as the super-net's drawings were."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
InputOption = Annotated[
    str | None, typer.Option("--input", metavar="CxHxW", help="Channels, height and width of an image, as in 3x84x84.")
]


def load(call: Invocation, given: Given, run_dir: Path | None = None) -> LoadedConfig:
    """Resolve the options of a command; notes go to standard error. Raises `ConfigError` and `PluginError`."""
    return Caller(registry=call.registry, note=note).load(given, run_dir=run_dir)


def limits(constraint: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the single limits of ``--constraint``. Raises a usage error if it was given several times."""
    from hnas_app.costs.limits import split_limits

    return tuple(limit for text in one_set(constraint) for limit in split_limits(text)) or None


def sets(texts: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Return keys and texts of ``--set``. Raises a usage error for one without an equals sign."""
    return tuple(split_set(text) for text in texts or ())


def one_set(constraint: Sequence[str] | None) -> Sequence[str]:
    """Return what was given of ``--constraint``. Raises a usage error where it was given several times."""
    given = constraint or ()
    if len(given) > 1:
        raise typer.BadParameter(
            f"given {len(given)} times; limits that must all hold are joined by a comma, as in '{','.join(given)}' "
            "(only `hnas adapt` takes it repeatedly, and searches once for each)",
            param_hint="--constraint",
        )
    return given


def split_set(text: str) -> tuple[str, str]:
    """Split ``KEY=VALUE``. Raises a usage error where there is no equals sign."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE, as in space.downsample=pool", param_hint="--set")
    return key.strip(), value.strip()


def input_shape(text: str | None) -> Shape | None:
    """Read ``3x84x84``, if it was given. Raises a usage error on anything else."""
    if text is None:
        return None
    if match := re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower()):
        channels, height, width = map(int, match.groups())
        return channels, height, width
    raise typer.BadParameter(f"{text!r} is not channels x height x width, as in 3x84x84", param_hint="--input")


def describe_options(options: Any) -> Mapping[str, Any]:
    """Return the values of a plugin's options by name."""
    import attrs

    return {f.name: getattr(options, f.name) for f in attrs.fields(type(options)) if f.init}
