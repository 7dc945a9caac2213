"""Code of others that ends the program, raises or returns what it must not: an error that names it."""

from __future__ import annotations

import traceback
from types import FrameType

from hnas.discovery.descriptors import KINDS, interface
from hnas.discovery.loading import cause_text
from hnas.errors import PluginError
from hnas.supernet.interface import SuperNet

_OURS = ("hnas.", "hnas_app.")
_BUILT_IN = ("hnas_plugins.", "hnas_backends.", "hnas_strategies.")


def ended_by_plugin(cause: BaseException) -> PluginError:
    """Return the error for an exception that is no `Exception`: it names the plugin, or the line, that raised it."""
    frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    who = _raiser(cause) or (_place(frames[-1]) if frames else "a plugin")
    return PluginError(
        f"{who} tried to end the program: {cause_text(cause)}",
        hint="a plugin raises an error in place of that; run again with --debug for the traceback",
    )


def failed_plugin(cause: Exception) -> PluginError | None:
    """Return the error for an exception that was not raised on purpose, if code of a plugin raised it.

    Built-in plugins are not blamed: there it is a fault of hnas.
    """
    who = _raiser(cause, besides=_BUILT_IN)
    hint = "run again with --debug for the traceback"
    return PluginError(f"{who} failed: {cause_text(cause)}", hint=hint) if who else None


def wrong(plugin: object, method: str, told: str, expected: str) -> PluginError:
    """Return the error for a plugin whose ``method`` returned something else than ``expected``."""
    return PluginError(f"{named(plugin)}, in {method}(), returned {told}; expected {expected}")


def _raiser(cause: BaseException, besides: tuple[str, ...] = ()) -> str:
    """Return the innermost plugin that an exception passed, and its method; empty if it passed none."""
    frames = reversed([frame for frame, _ in traceback.walk_tb(cause.__traceback__)])
    return next(filter(None, (_plugin(frame, besides) for frame in frames)), "")


def _plugin(frame: FrameType, besides: tuple[str, ...]) -> str:
    """Return the plugin and its method if a frame runs one."""
    made = frame.f_locals.get("self")
    if type(made).__module__.startswith(_OURS + besides) or not _kind(made):
        return ""
    return f"{named(made)}, in {frame.f_code.co_name}(),"


def named(plugin: object) -> str:
    """Return a plugin's kind, module and class."""
    return f"{_kind(plugin)} {type(plugin).__module__}:{type(plugin).__qualname__}"


def _kind(made: object) -> str:
    kinds = {kind: interface(kind) for kind in KINDS} | {"super-net": SuperNet}
    return next((name for name, cls in kinds.items() if isinstance(made, cls)), "")


def _place(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', 'code')} ({frame.f_code.co_filename}, line {frame.f_lineno})"
