"""``hnas plugins``: what is installed, from which distribution, and what could not be loaded."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from attrs import asdict

from hnas.cli.invocation import Invocation, invocation
from hnas.cli.options import JsonOption
from hnas.cli.output import print_json, print_table, say_next
from hnas.errors import PluginError, close_matches
from hnas.plugins import Registered, Registry, resolve

app = typer.Typer(help="List the plugins, and show one's options.", no_args_is_help=True)


@app.command("list")
def list_plugins(
    ctx: typer.Context,
    as_json: JsonOption = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="List the plugins that could not be loaded, and why.")
    ] = False,
) -> None:
    """List every plugin with its kind and distribution."""
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
        return say_next("hnas plugins list")
    if as_json:
        return print_json([_row(r) for r in found])
    print_table(
        ("KIND", "NAME", "DISTRIBUTION", "SUMMARY"),
        [(r.kind, r.plugin.name, f"{r.distribution} {r.version}", r.plugin.summary) for r in found],
    )
    say_next("hnas plugins show NAME")


@app.command("show")
def show_plugin(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A plugin's name.")],
    as_json: JsonOption = False,
) -> None:
    """Show where a plugin comes from, and its options with their defaults."""
    registry = invocation(ctx).registry
    found = registry.list()
    wanted, _, distribution = name.partition("@")
    matches = [r for r in found if r.plugin.name == wanted and distribution in ("", r.distribution)]
    if not matches:
        names = sorted({r.plugin.name for r in found})
        raise PluginError(f"unknown plugin {name!r}.{close_matches(wanted, names)} Known: {', '.join(names)}.")
    shown = [{**_row(r), "requires": list(r.plugin.requires), "options": _options(r)} for r in matches]
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
        say_next(f"hnas config show --{first['kind']} {name} --set {first['kind']}.{first['options'][0]['name']}=VALUE")
    else:
        say_next("hnas plugins list")


def _quiet(call: Invocation) -> Registry:
    """A registry that does not tell of failures, since the command lists them."""
    return Registry(third_party=not call.no_plugins, strict=False, warn=lambda text: None)


def _row(registered: Registered) -> dict[str, Any]:
    plugin = registered.plugin
    where = {"distribution": registered.distribution, "version": registered.version}
    return {"kind": registered.kind, "name": plugin.name, **where, "api": plugin.api, "summary": plugin.summary}


def _options(registered: Registered) -> list[dict[str, Any]]:
    from typing import get_type_hints

    import attrs

    from hnas.config.dump import toml_value
    from hnas.config.values import describe

    cls = resolve(registered.plugin.options, registered)
    hints = get_type_hints(cls)
    rows = []
    for f in attrs.fields(cls):
        default = f.default.factory() if isinstance(f.default, attrs.Factory) else f.default  # type: ignore[arg-type]
        shown = "required" if default is attrs.NOTHING else "" if default is None else toml_value(default, f.name)
        rows.append(
            {"name": f.name, "type": describe(hints[f.name]), "default": shown, "help": f.metadata.get("help", "")}
        )
    return rows
