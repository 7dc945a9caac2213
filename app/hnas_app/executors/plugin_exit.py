"""Code of others that tries to end the program, as by ``sys.exit``: an error that names it."""

from __future__ import annotations

import traceback
from types import FrameType

from hnas.discovery.descriptors import KINDS, interface
from hnas.discovery.loading import cause_text
from hnas.errors import PluginError
from hnas.supernet.interface import SuperNet

_OURS = ("hnas.", "hnas_app.")


def ended_by_plugin(cause: BaseException) -> PluginError:
    """Return the error for an exception that is no `Exception`: it names the plugin, or the line, that raised it."""
    frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    who = next(filter(None, map(_plugin, reversed(frames))), "") or (_place(frames[-1]) if frames else "a plugin")
    return PluginError(
        f"{who} tried to end the program: {cause_text(cause)}",
        hint="a plugin raises an error in place of that; run again with --debug for the traceback",
    )


def _plugin(frame: FrameType) -> str:
    """Return the plugin and its method if a frame runs one."""
    made = frame.f_locals.get("self")
    if type(made).__module__.startswith(_OURS):
        return ""
    kinds = {kind: interface(kind) for kind in KINDS} | {"super-net": SuperNet}
    kind = next((name for name, cls in kinds.items() if isinstance(made, cls)), None)
    return f"{kind} {type(made).__module__}:{type(made).__qualname__}, in {frame.f_code.co_name}()," if kind else ""


def _place(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', 'code')} ({frame.f_code.co_filename}, line {frame.f_lineno})"
