"""`hnas devices`: the user's boards by name. Add them, list them, check them, forget them, calibrate them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from hnas.discovery import Registry, resolve
from hnas.errors import ConfigError, DeviceError, quoted
from hnas.toolkit.devices import Device, DeviceBook, DeviceKind, Plain, check_name, taken
from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import confirm, note, print_json, print_table, say_next
from hnas_app.cli.terminal import at_terminal
from hnas_app.usecases.arguments import Given

app = typer.Typer(help="Name the devices to measure, and check that they can be measured.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A name from `hnas devices list`.")]


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name for the device, such as pi4.")],
    address: Annotated[str, typer.Argument(help="Where it is: USER@HOST, or a host of your ssh configuration.")],
    backend: Annotated[str, typer.Option(help="The backend that measures it.")] = "arm",
    host_key: Annotated[
        str | None, typer.Option(help="The fingerprint that its host key must have, SHA256:…; no question then.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Trust the host key that is shown, without asking.")] = False,
    ssh_config: Annotated[Path | None, typer.Option(help="ssh configuration to use in place of ~/.ssh/config.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="TCP port of its ssh server.")] = None,
    identity: Annotated[Path | None, typer.Option(help="Private key to log in with.")] = None,
) -> None:
    """Add a device: its host key is shown and, if you agree, kept under the name. There is no login yet."""
    check_name(name)
    book = DeviceBook()
    known = book.find(name)
    if known is not None:
        raise taken(known)
    kind = _kind(invocation(context).registry, backend)
    given = {
        "host_key": host_key,
        "ssh_config": None if ssh_config is None else os.path.abspath(os.path.expanduser(ssh_config)),
        "port": port,
        "identity": None if identity is None else os.path.abspath(os.path.expanduser(identity)),
    }
    flags: dict[str, Plain] = {k: v for k, v in given.items() if v is not None}
    settings = kind.add(name, address, flags, confirm(yes))
    book.add(Device(name=name, backend=backend, settings=settings))
    print(f"{name} is known now: {address}, measured by {backend}.")
    say_next(f"hnas devices check {name}")


@app.command("list")
def list_command(as_json: options.JsonOption = False) -> None:
    """List the devices."""
    devices = DeviceBook().all()
    if as_json:
        return print_json([{"name": d.name, "backend": d.backend, "settings": dict(d.settings)} for d in devices])
    if devices:
        rows = [(d.name, d.backend, " ".join(f"{k}={v}" for k, v in sorted(d.settings.items()))) for d in devices]
        print_table(("name", "backend", "settings"), rows)
        say_next(f"hnas devices check {devices[0].name}")
    else:
        print("No device has a name yet.")
        say_next("hnas devices add NAME USER@HOST")


@app.command()
def check(context: typer.Context, name: Name, as_json: options.JsonOption = False) -> None:
    """Connect to a device and print what it is and whether it can measure now."""
    device = DeviceBook().get(name)
    facts = dict(_kind(invocation(context).registry, device.backend).check(device))
    if as_json:
        return print_json({"name": name, "backend": device.backend, **facts})
    for key, value in facts.items():
        for item in value if isinstance(value, list) else [value]:
            print(f"{key}: {item}")
    say_next(f"hnas profile --preset quick --backend {device.backend}:{name}")


@app.command()
def remove(context: typer.Context, name: Name, yes: options.YesOption = False) -> None:
    """Forget a device and its host key. Its measurements stay in the cost table."""
    book = DeviceBook()
    device = book.get(name)
    if not confirm(yes)(f"Forget {name}?"):
        raise DeviceError(f"{name} was kept")
    _kind(invocation(context).registry, device.backend).remove(device)
    book.remove(name)
    print(f"{name} is forgotten.")
    say_next("hnas devices list")


@app.command()
@options.takes("space", "input_", "networks", "tasks", "data_root", "config", "set", "seed")
def calibrate(
    ctx: typer.Context,
    backend: Annotated[str, typer.Argument(metavar="BACKEND[:DEVICE]", help="What to calibrate, such as arm:pi4.")],
    given: Given,
    input_: options.InputOption = None,
    networks: Annotated[int, typer.Option("--networks", min=4, help="Random networks to measure whole.")] = 40,
    as_json: options.JsonOption = False,
) -> None:
    """Measure whole networks, and correct sums over layers by them if that helps.

    A line is fitted to half of the networks, and kept if it predicts the other half better than the sums do.
    """
    from hnas_app.usecases.profile import calibrate as fit
    from hnas_app.usecases.profile import subject

    given = attrs.evolve(given, preset="none", backend=backend)
    with at_terminal(invocation(ctx)) as caller:
        what = subject(caller, given, options.input_shape(input_))
        info, line = fit(caller, what, networks=networks)
    metric = info.metrics[0]
    if as_json:
        return print_json({"metric": metric.column, "kept": line.helps, **attrs.asdict(line)})
    print(f"{line.slope:.4f} · sum + {line.offset:.4g} {metric.unit}, fitted to {line.networks} networks")
    print(f"mean error on the others: {line.mape_before:.1f} % before, {line.mape_after:.1f} % after")
    if not line.helps:
        note("it does not help, so it is not applied")
    say_next(f"hnas run --space {quoted(what.loaded.config.space.name)} --backend {quoted(backend)} --preset quick")


def _kind(registry: Registry, backend: str) -> DeviceKind:
    found = registry.get("backend", backend)
    if not found.plugin.devices:
        named = sorted(r.plugin.name for r in registry.list("backend") if r.plugin.devices)
        raise ConfigError(
            f"backend {backend!r} has no devices with names",
            hint=f"backends that have: {', '.join(named) or 'none is installed'}",
        )
    kind: Any = resolve(found.plugin.devices, found)
    made: DeviceKind = kind()
    return made
