"""The arguments of a use case: one value for all that a configuration is made of, and callbacks for progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import attrs
from attrs import field, frozen

from hnas.discovery import KINDS, Kind, Registry
from hnas.discovery.user_code import object_name
from hnas.errors import ConfigError, HnasError
from hnas.events import Listener

if TYPE_CHECKING:
    from hnas.backend import HardwareBackend
    from hnas.learner import MetaLearner
    from hnas.space import SearchSpace
    from hnas.strategy import SearchStrategy
    from hnas.task_source import TaskSource
    from hnas_app.config.schema import LoadedConfig

PathLike = str | os.PathLike[str]
Table = Mapping[str, Any]
"""A plugin's options by name, and its ``name``, as a table of a configuration file holds them."""

KEYS = {"data_root": "tasks.root", "device": "backend.device", "n_way": "task.n_way"}
"""Fields of `Given` that are not spelt like the key they set."""
SAME_RESULTS = ("workers", "executor", "accelerator", "data_root")
"""Fields that a further phase of a run may be given, because its results do not depend on them."""


class WrongArgument(ConfigError):
    """An argument that makes no sense as it was given; the command line names its flag instead, and exits with 2."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument, self.problem = argument, problem


class Sources(TypedDict, total=False):
    """Sources of a configuration besides the arguments given; see `hnas_app.config.load.load_config`."""

    file: Path
    """The file of the run that is resumed."""
    run_dir: Path | None
    instead: Collection[Kind]
    only_read: bool
    """Whether options that were removed since may stand in the run's file."""


@frozen(kw_only=True)
class Given:
    """The user's arguments for a configuration, by flags or from Python; ``None`` means not given.

    A plugin is a name, a table of its name and options, or an object that implements its kind's interface.
    """

    space: str | SearchSpace | Table | None = None
    learner: str | MetaLearner | Table | None = None
    backend: str | HardwareBackend | Table | None = None
    strategy: str | SearchStrategy | Table | None = None
    tasks: str | TaskSource | Table | None = None
    preset: str | None = None
    constraints: tuple[str, ...] | None = None
    """Single limits that must all hold."""
    device: str | None = None
    n_way: int | None = None
    seed: int | None = None
    workers: int | None = None
    executor: str | None = None
    accelerator: str | None = None
    data_root: str | None = None
    settings: Mapping[str, Any] = field(factory=dict)
    """Dotted keys to values of their own type."""
    sets: tuple[tuple[str, str], ...] = ()
    """Dotted keys and texts, as a shell passes them."""
    config: Path | None = None
    """A TOML file."""
    env: Mapping[str, str] | None = None
    """Variables to read; by default those of this process."""
    by_flags: bool = False
    """Whether errors use the words of the command line: ``--seed``, not ``seed``."""

    @property
    def objects(self) -> dict[Kind, Any]:
        """The plugins that are objects."""
        given = {kind: getattr(self, kind) for kind in KINDS}
        return {
            k: plugin for k, plugin in given.items() if plugin is not None and not isinstance(plugin, str | Mapping)
        }

    @property
    def same_results(self) -> Given:
        """The arguments that results do not depend on, and the objects that a run needs again."""
        return Given(**{name: getattr(self, name) for name in (*SAME_RESULTS, "env", "by_flags")}, **self.objects)

    def sources(self) -> dict[str, Any]:
        """Return the arguments of `hnas_app.config.load.load_config`, plugins by name."""
        found = {"file": self.config, "env": self.env, "sets": self.sets}
        skipped = ("settings", "sets", "config", "env", "by_flags")
        fields = [f.name for f in attrs.fields(Given) if f.name not in skipped]
        values = {KEYS.get(name, name): value for name in fields if (value := getattr(self, name)) is not None}
        values |= {kind: object_name(instance) for kind, instance in self.objects.items()}
        if self.by_flags:
            return found | {"preset": values.pop("preset", None), "flags": values}
        plain = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in self.settings.items()}
        return found | {"settings": plain, "arguments": values}

    def check_importable(self) -> None:
        """Raise `ConfigError` for objects that worker processes need, and whose classes they cannot import."""
        if self.workers == 1 or hasattr(sys.modules["__main__"], "__file__"):
            return
        for kind, instance in self.objects.items():
            if kind in ("space", "learner", "tasks") and type(instance).__module__ == "__main__":
                raise ConfigError(
                    f"{kind}: {type(instance).__name__} is defined in a notebook or an interactive session, "
                    "from which worker processes cannot import it",
                    hint="leave workers at 1, or move the class into a module",
                )


def nobody(_: Any) -> None:
    """Listen to nothing."""


@frozen(kw_only=True)
class Caller:
    """The caller of a use case: the plugins that may be used, and callbacks for progress and notes."""

    registry: Registry = field(factory=Registry)
    emit: Listener = nobody
    """Called with the progress."""
    note: Callable[[str], None] = nobody
    """Called with a sentence for the user."""
    began: Callable[[Path], None] = nobody
    """Called with the folder to go on with after an interruption, as soon as there is one."""
    trackers: tuple[str, ...] = ()
    """Plugins that show the run elsewhere, by name."""
    root: Path = Path("runs")
    """The folder of new runs that are made beside no other."""

    def load(self, given: Given, *, quiet: bool = False, **sources: Unpack[Sources]) -> LoadedConfig:
        """Resolve a configuration, and pass its notes to `note` unless ``quiet``.

        Raises `ConfigError` with all mistakes at once, and `PluginError`.
        """
        from hnas_app.config.load import load_config

        loaded = load_config(self.registry, **(given.sources() | dict(sources)))
        for text in () if quiet else loaded.notes:
            self.note(text)
        return loaded


def limits(constraints: str | Sequence[str]) -> tuple[str, ...]:
    """Return single limits; several in one text are joined by commas, as on the command line."""
    from hnas_app.costs.limits import split_limits

    return tuple(
        x for text in ([constraints] if isinstance(constraints, str) else constraints) for x in split_limits(text)
    )


def absolute(path: PathLike) -> Path:
    """Return a path that stays right when a notebook changes its folder."""
    return Path(os.path.expanduser(path)).absolute()


def absolute_if_given(path: PathLike | None) -> Path | None:
    """Return `absolute` of a path, or ``None``."""
    return None if path is None else absolute(path)


def check_writable(path: Path, argument: str, endings: Collection[str] = ()) -> None:
    """Raise `WrongArgument` if a file could not be written later: called before minutes or hours of work."""
    if endings and path.suffix.lower() not in endings:
        raise WrongArgument(argument, f"{path} is neither {' nor '.join(filter(None, endings))}")
    if path.is_dir():
        raise WrongArgument(argument, f"{path} is a folder, expected a file")
    if not path.parent.is_dir():
        raise WrongArgument(argument, f"{path.parent} is not a folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise WrongArgument(argument, f"no file can be written in {path.parent}: permission denied")


def check_folder(path: Path, argument: str) -> None:
    """Raise `WrongArgument` if a folder could not be made later, or no file be written in it; see `check_writable`."""
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not there.is_dir():
        raise WrongArgument(argument, f"{there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise WrongArgument(argument, f"nothing can be written in {there}: permission denied")


@contextmanager
def explained(begun: Sequence[Path] = ()) -> Iterator[None]:
    """Add to an error, as notes, the hint that the command line prints: a traceback shows no hint.

    ``begun`` holds the folder to go on with, if there is one by then; see `Caller.began`.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, HnasError) and error.hint:
            error.add_note(f"hint: {error.hint}")
        if begun and begun[0].is_dir():
            error.add_note(f"to go on: hnas.load_run({str(begun[0])!r})")
        raise
