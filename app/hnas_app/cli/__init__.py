"""The command line: ``hnas``. One command a file, imported when it is used; none imports torch before it runs."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.main

from hnas._version import __version__
from hnas.errors import DataError, HnasError, close_matches
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.lazy_commands import LazyGroup
from hnas_app.cli.streams import fit_streams
from hnas_app.executors.interruption import ignore, interruptible
from hnas_app.executors.plugin_exit import ended_by_plugin, failed_plugin
from hnas_app.executors.this_rank import end, under_torchrun

# Newer versions of typer hold a click of their own, older ones import it: either way typer exports one of its errors.
_UsageError: Any = typer.BadParameter.__mro__[1]
_GLOBAL = ("--debug", "--no-plugins")
INTERRUPTED = 130
"""The exit code after a signal."""

app = typer.Typer(
    name="hnas",
    cls=LazyGroup,
    rich_markup_mode=None,
    help="Meta-train one super-net, measure a device once, adapt an architecture to any few-shot task in minutes.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hnas {__version__}")
        raise typer.Exit()


@app.callback()
def _global_options(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    no_plugins: Annotated[bool, typer.Option("--no-plugins", help="Load built-in plugins only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    invocation: Invocation = ctx.obj
    invocation.debug |= debug
    invocation.no_plugins |= no_plugins


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; the ``hnas`` script and ``python -m hnas`` call it."""
    with interruptible():
        code = run(sys.argv[1:] if argv is None else argv)
        if code == INTERRUPTED or under_torchrun():
            end(code)
    ignore()  # the command is done, and Python shuts down
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are printed on standard error."""
    # Threads that spin while they wait make a busy machine many times slower; torch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    invocation = Invocation(debug=os.environ.get("HNAS_DEBUG") == "1")
    # Global flags work behind the command too, since "run again with --debug" is what an error asks for.
    options = argv[: argv.index("--")] if "--" in argv else argv
    first = [a for a in options if a in _GLOBAL]
    rest = [a for a in options if a not in _GLOBAL] + list(argv[len(options) :])
    with interruptible(), fit_streams(only_json="--json" in options):
        return _run([*first, *rest], invocation)


def _run(argv: Sequence[str], invocation: Invocation) -> int:
    try:
        code = typer.main.get_command(app).main(args=[*argv], prog_name="hnas", standalone_mode=False, obj=invocation)
        if code == INTERRUPTED:
            return _interrupted(invocation)
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort) as abort:
        if isinstance(abort.__cause__, EOFError):
            return _unexpected(abort.__cause__, invocation)
        return _interrupted(invocation)
    except HnasError as error:
        if invocation.debug:
            traceback.print_exc()
        return _tell(str(error), error.hint, error.exit_code)
    except BrokenPipeError:
        return _reader_left()
    except _UsageError as error:
        return _usage(error)
    except OSError as error:
        return _unexpected(error, invocation) if error.filename is None else _unusable(error, invocation)
    except Exception as error:
        return _unexpected(error, invocation)
    except BaseException as error:
        if isinstance(error.__context__, BrokenPipeError) and _by_typer(error):
            return _reader_left()
        if isinstance(error, SystemExit) and _by_typer(error):  # it has answered a shell that completes a command
            return int(error.code or 0)
        # Such as SystemExit: nothing of ours raises it, so a plugin or a library tried to end the program.
        if invocation.debug:
            traceback.print_exc()
        ended = ended_by_plugin(error)
        return _tell(str(ended), ended.hint, ended.exit_code)


def _by_typer(error: BaseException) -> bool:
    """Whether typer itself ended the program, as it does when the reader of our output left."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__")).startswith(("typer.", "click."))


def _tell(message: str, hint: str | None, code: int) -> int:
    print(f"error: {message}" + (f"\nhint: {hint}" if hint else ""), file=sys.stderr)
    return code


def _reader_left() -> int:
    """End after the reader of our output left, as `head` does; nothing more can be printed there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1


def _unexpected(error: BaseException, invocation: Invocation) -> int:
    if invocation.debug:
        traceback.print_exception(error)
    if isinstance(error, Exception) and (failed := failed_plugin(error)):
        return _tell(str(failed), failed.hint, failed.exit_code)
    if invocation.debug:
        return 1
    hint = "run again with --debug for the traceback"
    return _tell(f"unexpected {type(error).__name__}: {error}", hint, 1)


def _unusable(error: OSError, invocation: Invocation) -> int:
    """End after a path that the system refuses anywhere: too long, denied, something else than expected."""
    if invocation.debug:
        traceback.print_exception(error)
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    cut = name if len(name) <= 200 else f"{name[:200]}…"
    hint = "check the path and its permissions, or run again with --debug for the traceback"
    return _tell(f"cannot use {cut}: {error.strerror}", hint, DataError.exit_code)


def _interrupted(invocation: Invocation) -> int:
    hint = f"\nto go on: {invocation.resume}" if invocation.resume else ""
    print(f"interrupted{hint}", file=sys.stderr)
    return INTERRUPTED


def _usage(error: Any) -> int:
    """Print a usage error, with the close match for an unknown flag or command."""
    if not error.format_message().strip() or type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 2
    command = error.ctx.command_path if error.ctx else "hnas"
    name = getattr(error, "option_name", None)
    message = error.format_message().rstrip()
    if name and type(error).__name__ == "NoSuchOption":
        known = [o for p in error.ctx.command.params for o in p.opts] if error.ctx else []
        message = f"unknown option {name!r} of `{command}`.{close_matches(name, known)}"
    elif unknown := re.match(r"No such command '(.*?)'\.", message):
        # Older versions of typer make no suggestion.
        known = list(getattr(error.ctx.command, "commands", ())) if error.ctx else []
        message = f"unknown command {unknown[1]!r} of `{command}`.{close_matches(unknown[1], known)}"
    return _tell(message, f"`{command} --help` lists what there is", 2)
