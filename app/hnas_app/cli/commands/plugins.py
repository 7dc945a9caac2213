"""``hnas plugins``: list, show and check the installed plugins, and begin one of your own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from attrs import asdict

from hnas.discovery import BUILT_IN, HOOK, KINDS, Failure, Registered, Registry, options_of
from hnas.discovery.loading import normalised
from hnas.errors import PluginError, close_matches, quoted, shown
from hnas_app.cli.invocation import Invocation, invocation
from hnas_app.cli.options import JsonOption, load, takes
from hnas_app.cli.output import print_json, print_table, say_next
from hnas_app.usecases.arguments import Given

if TYPE_CHECKING:
    from hnas_app.plugin_tools.finding import Finding

app = typer.Typer(help="List, show, check and begin plugins.", no_args_is_help=True)


@app.command("new")
def new_plugin(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(HOOK)}.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that users will write, as in my-board.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The project's folder; default: hnas-KIND-NAME."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="The run whose super-net is packed: for `supernet`.")
    ] = None,
) -> None:
    """Write a project for a plugin: a small implementation that works, its hooks, tests and a README.

    That of a `supernet` holds the super-net of a run of yours, with a model card to be completed.
    """
    from hnas_app.plugin_tools.projects import Project

    if kind not in HOOK:
        raise typer.BadParameter(
            f"{kind!r} is not one of {', '.join(HOOK)}.{close_matches(kind, HOOK)}", param_hint="KIND"
        )
    if (run is None) == (kind == "supernet"):
        raise typer.BadParameter(f"{'is needed' if run is None else 'is only'} for a supernet", param_hint="--from")
    project = Project(kind=kind, name=name)
    registry = invocation(ctx).registry
    for taken in registry.list(kind):
        if taken.plugin.name == project.name:
            whose = "is built in" if taken.distribution == BUILT_IN else f"is there, from {taken.distribution}"
            raise PluginError(f"{kind} {project.name!r} {whose}", hint="choose a name of your own")
    if run is not None:
        from hnas_app.runs.run_dir import RunDir
        from hnas_app.supernets.packing import packed

        project = attrs.evolve(project, packed=packed(RunDir.open(run), project.name, registry))
    folder = out if out is not None else Path(project.distribution)
    for path in project.write(folder):
        print(path)
    say_next(f"pip install -e {quoted(folder)} && hnas plugins check {project.name}")


@app.command("list")
def list_plugins(
    ctx: typer.Context,
    as_json: JsonOption = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="List the plugins that could not be loaded, and why.")
    ] = False,
) -> None:
    """List every plugin with its kind, the name to use, and its distribution."""
    registry = _quiet(invocation(ctx)) if failed else invocation(ctx).registry
    found = registry.list()
    if failed:
        failures = [asdict(f) for f in registry.failures]
        if as_json:
            return print_json(failures)
        for f in failures:
            print(f"{f['entry_point']} of {f['distribution']} {f['version']}: {f['cause']}")
        if not failures:
            print("no plugin failed to load")
        return say_next(f"hnas plugins check {failures[0]['distribution']}" if failures else "hnas plugins list")
    if as_json:
        return print_json([_row(registry, r) for r in found])
    print_table(
        ("KIND", "NAME", "DISTRIBUTION", "SUMMARY"),
        [(r.kind, registry.selector(r), f"{r.distribution} {r.version}", r.plugin.summary) for r in found],
    )
    say_next("hnas plugins show NAME")


@app.command("show")
def show_plugin(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A plugin's name, or NAME@DISTRIBUTION.")],
    as_json: JsonOption = False,
) -> None:
    """Show where a plugin comes from, and its options with their defaults."""
    registry = invocation(ctx).registry
    matches, failures = _named(registry, name)
    if not matches:
        raise PluginError(f"{failures[0].distribution} {failures[0].version} failed to load: {failures[0].cause}")
    shown = [{**_row(registry, r), "requires": list(r.plugin.requires), "options": _options(r)} for r in matches]
    if as_json:
        return print_json(shown)
    for plugin in shown:
        print(f"{plugin['kind']} {plugin['name']}: {plugin['summary']}")
        print(f"from {plugin['distribution']} {plugin['version']}")
        rows = [(f"  {plugin['kind']}.{o['name']}", o["type"], o["default"], o["help"]) for o in plugin["options"]]
        if rows:
            print_table(("OPTION", "TYPE", "DEFAULT", "MEANING"), rows)
        else:
            print("no options")
    first = shown[0]
    if first["options"]:
        key = f"{first['kind']}.{first['options'][0]['name']}"
        say_next(f"hnas config show --{first['kind']} {quoted(first['use'])} --set {key}=VALUE")
    else:
        say_next(f"hnas supernets show {quoted(first['use'])}" if first["kind"] == "supernet" else "hnas plugins list")


@app.command("check")
@takes("set")
def check_plugins(
    ctx: typer.Context,
    given: Given,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A plugin, a distribution ('hnas' has the built-in ones), or ./file.py:Class; default: all "
            "third-party plugins."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run no conformance tests.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Test backends that measure a real device, too.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="Limit of one conformance test.")
    ] = 300.0,
    as_json: JsonOption = False,
) -> None:
    """Check that plugins can be made, have what they require, fit their interface, and pass its conformance tests.

    The tests run in a process of their own, some seconds for most plugins, with small options; --set changes them. The
    exit code is 4 if one fails. Warnings and hints are printed, but fail nothing.
    """
    from hnas_app.plugin_tools.check import check
    from hnas_app.plugin_tools.conformance import Conformance, check_pytest
    from hnas_app.plugin_tools.finding import Finding

    call = invocation(ctx)
    registry = _quiet(call)
    found = registry.list()
    third_party = [r for r in found if r.distribution != BUILT_IN]
    registered, failures = _named(registry, name) if name else (third_party, registry.failures)
    if registered and not quick:
        check_pytest()
    configured = [r for r in registered if r.kind in KINDS]
    for one in configured if given.sets else ():  # or a mistake in --set would be a fault of the plugin
        load(call, Given(by_flags=True, preset="none", sets=given.sets, **_named_plugin(one, registry)))
    results = [_result("entry point", f.entry_point, f, [Finding("failed", "load", f.cause)]) for f in failures]
    with _progress() as progress:
        conformance = Conformance(
            sets=given.sets, timeout_s=timeout, measure=measure, third_party=not call.no_plugins, progress=progress
        )
        for one in registered:
            findings = check(one, found)
            if not quick and not any(f.level == "failed" and f.check != "interface" for f in findings):
                findings += conformance.run(one)
            results.append(_result(one.kind, one.plugin.name, one, findings))
    if as_json:
        print_json(results)
    for result in () if as_json else results:
        whose = f"{result['distribution']} {result['version']}".strip()
        print(f"{'passed' if result['passed'] else 'FAILED'}: {result['kind']} {result['name']} of {whose}")
        for finding in result["findings"]:
            told = shown(finding["told"], keep="\n").replace("\n", "\n" + 11 * " ")
            print(f"  {finding['level']:<8} {finding['check']}: {told}")
    if not results:
        if not as_json:
            print("no third-party plugin is installed")
        return say_next(f"hnas plugins check {BUILT_IN}")
    wrong = [f"{r['name']} of {r['distribution']}" for r in results if not r["passed"]]
    if wrong:
        raise PluginError(f"{len(wrong)} of {len(results)} checked plugins failed: {', '.join(wrong)}")
    one = registered[0]
    say_next("hnas plugins list" if len(registered) > 1 else f"hnas run --{one.kind} {quoted(registry.selector(one))}")


def _named_plugin(registered: Registered, registry: Registry) -> dict[str, Any]:
    return {registered.kind: registry.selector(registered)}


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield what shows a text in one line of the terminal, until the next one; elsewhere it shows nothing."""
    stream = getattr(sys.stderr, "unescaped", sys.stderr)
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    try:
        yield lambda text: print(f"\r\x1b[2K{shown(text)[:100]}", end="", file=stream, flush=True)
    finally:
        print("\r\x1b[2K", end="", file=stream, flush=True)


def _quiet(call: Invocation) -> Registry:
    """Return a registry that prints no failures, since the command lists them."""
    return Registry(third_party=not call.no_plugins, strict=False, warn=lambda text: None)


def _named(registry: Registry, name: str) -> tuple[list[Registered], list[Failure]]:
    """Return the plugins and the failures that a user means. Raises `PluginError` if there are none."""
    found = registry.list()
    wanted, at, distribution = name.partition("@")
    matches = [r for r in found if r.plugin.name == wanted and (not at or _same(r.distribution, distribution))]
    matches = matches or [r for r in found if _same(r.distribution, name)]
    failures = [f for f in registry.failures if name == f.entry_point or _same(f.distribution, name)]
    if not matches and not failures and ":" in name:
        from hnas_app.plugin_tools.user_kind import user_kind

        matches = [registry.get(user_kind(name), name)]
    if not matches and not failures:
        names = sorted({r.plugin.name for r in found})
        failed = "".join(f" ({f.distribution} {f.version} failed to load: {f.cause})" for f in registry.failures)
        raise PluginError(f"unknown plugin {name!r}.{close_matches(wanted, names)} Known: {', '.join(names)}.{failed}")
    return matches, failures


def _same(distribution: str, other: str) -> bool:
    return normalised(distribution) == normalised(other)


def _result(kind: str, name: str, whose: Registered | Failure, findings: Sequence[Finding]) -> dict[str, Any]:
    where = {"distribution": whose.distribution, "version": whose.version}
    passed = all(f.level != "failed" for f in findings)
    return {"kind": kind, "name": name, **where, "passed": passed, "findings": [asdict(f) for f in findings]}


def _row(registry: Registry, registered: Registered) -> dict[str, Any]:
    plugin = registered.plugin
    where = {"distribution": registered.distribution, "version": registered.version}
    return {
        "kind": registered.kind,
        "name": plugin.name,
        "use": registry.selector(registered),
        **where,
        "api": plugin.api,
        "summary": plugin.summary,
    }


def _options(registered: Registered) -> list[dict[str, Any]]:
    from typing import get_type_hints

    from hnas_app.config.dump import toml_value
    from hnas_app.config.values import describe

    cls = options_of(registered)
    hints = get_type_hints(cls)
    rows = []
    for f in attrs.fields(cls):
        default = f.default.factory() if isinstance(f.default, attrs.Factory) else f.default  # type: ignore[arg-type]
        shown = "required" if default is attrs.NOTHING else "" if default is None else toml_value(default, f.name)
        rows.append(
            {"name": f.name, "type": describe(hints[f.name]), "default": shown, "help": f.metadata.get("help", "")}
        )
    return rows
