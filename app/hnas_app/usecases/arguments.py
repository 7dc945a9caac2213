"""What a Python program gives to a run: plugins by name or as objects, settings, limits; and how errors are told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hnas.discovery import KINDS, Kind, Registry
from hnas.discovery.user_code import object_name
from hnas.errors import ConfigError, HnasError
from hnas.events import Event, Listener

if TYPE_CHECKING:
    from hnas_app.config.schema import LoadedConfig

PathLike = str | os.PathLike[str]


def _given(plugins: Mapping[Kind, Any]) -> dict[Kind, Any]:
    return {kind: plugins[kind] for kind in KINDS if plugins.get(kind) is not None}


@frozen(kw_only=True)
class GivenPlugins:
    """Plugins by kind, each a name or an object that implements the kind's interface."""

    by_kind: Mapping[Kind, Any] = field(factory=dict, converter=_given)

    @property
    def objects(self) -> dict[Kind, Any]:
        """Those that are objects."""
        return {kind: plugin for kind, plugin in self.by_kind.items() if not isinstance(plugin, str)}

    def registry(self, warn: Callable[[str], None]) -> Registry:
        """Return the plugins of this Python environment, and the objects. Raises `PluginError` for a wrong object."""
        registry = Registry(warn=warn)
        for kind, instance in self.objects.items():
            registry.add(kind, instance)
        return registry

    def load(self, registry: Registry, arguments: Mapping[str, Any], workers: int, **sources: Any) -> LoadedConfig:
        """Resolve the configuration; refuse what could not work before anything is written.

        ``arguments`` maps dotted keys to values; ``sources`` are the other sources of `load_config`.
        """
        from hnas_app.config.load import load_config
        from hnas_app.training.accelerator import check_accelerator

        names: dict[str, Any] = {kind: p if isinstance(p, str) else object_name(p) for kind, p in self.by_kind.items()}
        plain = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in arguments.items()}
        loaded = load_config(registry, arguments={**plain, **names, "workers": workers}, **sources)
        check_accelerator(loaded.config.accelerator)
        if workers != 1:
            self._check_importable()
        return loaded

    def _check_importable(self) -> None:
        """Refuse objects that worker processes would have to have, and whose classes they cannot import."""
        interactive = not hasattr(sys.modules["__main__"], "__file__")
        for kind, instance in self.objects.items():
            if interactive and kind in ("space", "learner", "tasks") and type(instance).__module__ == "__main__":
                raise ConfigError(
                    f"{kind}: {type(instance).__name__} is defined in a notebook or an interactive session, "
                    "from which worker processes cannot import it",
                    hint="leave workers at 1, or move the class into a module",
                )


def limits(constraints: str | Sequence[str]) -> tuple[str, ...]:
    """Return single limits; several in one text are joined by commas, as on the command line."""
    from hnas_app.costs.limits import split_limits

    return tuple(
        x for text in ([constraints] if isinstance(constraints, str) else constraints) for x in split_limits(text)
    )


def absolute(path: PathLike) -> Path:
    """Return a path that stays right when a notebook changes its folder."""
    return Path(path).expanduser().absolute()


def noting(listener: Listener) -> Callable[[str], None]:
    """Return what turns sentences for the user into events that concern the whole run."""
    return lambda text: listener(Event(phase="run", kind="note", text=text))


@contextmanager
def explained(path: Path | None = None) -> Iterator[None]:
    """Put behind an error what the command line says there: a traceback shows notes, but no hint."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, HnasError) and error.hint:
            error.add_note(f"hint: {error.hint}")
        if path is not None:
            error.add_note(f"to go on: hnas.load_run({str(path)!r})")
        raise
