"""``hnas spaces``: a search space's choices and size, and the layers, parameters and MACs of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from hnas.errors import quoted
from hnas.toolkit.codec import to_json
from hnas_app.cli import options
from hnas_app.cli.invocation import Invocation, invocation
from hnas_app.cli.output import print_json, print_table, say_next
from hnas_app.config.network_text import read_network
from hnas_app.search.sizes import printed_size, true_size
from hnas_app.usecases.arguments import Given

if TYPE_CHECKING:
    from hnas.architecture import Architecture
    from hnas.layer import Shape
    from hnas.space import SearchSpace
    from hnas_app.config.schema import LoadedConfig

app = typer.Typer(help="Show search spaces and the networks in them.", no_args_is_help=True)


@app.command()
@options.takes("arch", "input_", "n_way", "preset", "config", "set")
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A search space.")],
    given: Given,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch", metavar="NETWORK", help="A reference network's name, genes as JSON, or 'choice=option,…'."
        ),
    ] = None,
    input_: options.InputOption = None,
    n_way: Annotated[int, typer.Option("--n-way", min=2, help="Classes of a task.")] = 5,
    as_json: options.JsonOption = False,
) -> None:
    """Show a space's size, and with --arch one network's parameters, MACs and layers.

    A named reference network is shown with the options of its paper, unless you set them.
    """
    shape = options.input_shape(input_) or (3, 84, 84)
    call = invocation(ctx)
    loaded = options.load(call, attrs.evolve(given, preset=given.preset or "none", space=name))
    space, values = _space(call, loaded, arch, shape, n_way)
    network = read_network(space, arch) if arch is not None else None
    record = _describe(space, values, network, shape, n_way)
    if as_json:
        return print_json(record)
    _print(record)
    if network is None and space.references():
        say_next(f"hnas spaces show {quoted(name)} --arch {quoted(next(iter(space.references())))}")
    else:
        say_next(f"hnas profile --space {quoted(name)} --backend eyeriss --input {'x'.join(map(str, shape))} --json")


def _space(
    call: Invocation, loaded: LoadedConfig, arch: str | None, shape: Shape, n_way: int
) -> tuple[SearchSpace, dict[str, Any]]:
    """Construct the space, with a reference network's own options unless the user set them; return the options too."""
    from hnas_app.runs.session import chosen

    space: SearchSpace = chosen("space", loaded.config, call.registry)
    chosen_options = loaded.config.space.options
    values = {f.name: getattr(chosen_options, f.name) for f in attrs.fields(type(chosen_options)) if f.init}
    if arch not in space.references() or arch is None:
        return space, values
    own = space.reference_options(arch, shape, n_way)
    overrides = {k: v for k, v in own.items() if not loaded.is_set_by_user(f"space.{k}")}
    return chosen("space", loaded.config, call.registry, **overrides), values | overrides


def _describe(
    space: SearchSpace, values: dict[str, Any], network: Architecture | None, shape: Shape, n_way: int
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "space": space.name,
        "options": values,
        "size_printed": printed_size(space),
        "size_true": true_size(space),
        "choices": {c.name: list(c.options) for c in space.choices},
        "references": list(space.references()),
    }
    if network is not None:
        layers = space.layers(network, shape, n_way)
        record |= {
            "input": list(shape),
            "n_way": n_way,
            "architecture": to_json(network),
            "network": space.options(network),
            "params": sum(layer.params for layer in layers),
            "macs": sum(layer.macs for layer in layers),
            "layers": [
                {**to_json(layer), "key": layer.key, "params": layer.params, "macs": layer.macs} for layer in layers
            ],
        }
    return record


def _print(record: dict[str, Any]) -> None:
    print(f"{record['space']}: {record['size_true']:,} distinct networks ({record['size_printed']:,} as papers count)")
    print("options: " + ", ".join(f"{k}={v}" for k, v in record["options"].items()))
    if "layers" not in record:
        print_table(("CHOICE", "OPTIONS"), [(k, ", ".join(map(str, v))) for k, v in record["choices"].items()])
        if record["references"]:
            print("reference networks: " + ", ".join(record["references"]))
        return
    print("network: " + ", ".join(f"{k}={v}" for k, v in record["network"].items()))
    print(f"{record['params']:,} parameters, {record['macs']:,} MACs on {'x'.join(map(str, record['input']))}")
    rows = [
        (x["op"], "x".join(map(str, x["in_shape"])), "x".join(map(str, x["out_shape"])), x["params"], x["macs"])
        for x in record["layers"]
    ]
    print_table(("LAYER", "IN", "OUT", "PARAMS", "MACS"), rows)
