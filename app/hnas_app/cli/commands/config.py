"""``hnas config``: write a configuration file, show the resolved one with each value's origin, check a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnas.errors import ConfigError, quoted
from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import print_json, say_next
from hnas_app.usecases.arguments import Given

app = typer.Typer(help="Write, show and check configurations.", no_args_is_help=True)


@app.command()
@options.takes("path", "preset", "space", "learner", "backend", "strategy", "tasks", "set")
def init(
    ctx: typer.Context,
    given: Given,
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("hnas.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a file with every key, its value and what it means."""
    from hnas.toolkit.files import write_text
    from hnas_app.config.dump import dump_toml, help_texts

    if path.exists() and not force:
        raise ConfigError(f"{path} exists already", hint="give another name, or --force to replace it")
    config = options.load(invocation(ctx), given).config
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}")
    write_text(path, dump_toml(config, comments=help_texts(config)))
    print(f"wrote {path}")
    say_next(f"hnas config check {quoted(path)}")


@app.command()
@options.takes(
    "config", "preset", "space", "learner", "backend", "strategy", "tasks", "data_root", "constraint", "seed",
    "workers", "executor", "accelerator", "run_dir", "set",
)  # fmt: skip
def show(
    ctx: typer.Context, given: Given, run_dir: options.RunDirOption = None, as_json: options.JsonOption = False
) -> None:
    """Show the resolved configuration, and where each value comes from."""
    from hnas_app.config.dump import dump_toml, flatten

    loaded = options.load(invocation(ctx), given, run_dir=run_dir)
    if as_json:
        flat = flatten(loaded.config)
        return print_json({k: {"value": v, "origin": loaded.origins.get(k, "default")} for k, v in flat.items()})
    print(dump_toml(loaded.config, comments=loaded.origins), end="")
    say_next("hnas config init, to write these keys to a file")


@app.command()
def check(
    ctx: typer.Context, path: Annotated[Path, typer.Argument(help="The file to check.")] = Path("hnas.toml")
) -> None:
    """Check a file: all its mistakes are reported at once."""
    loaded = options.load(invocation(ctx), Given(by_flags=True, config=path))
    chosen = loaded.config
    print(f"{path} is right: {chosen.space.name} on {chosen.backend.name}, tasks {chosen.tasks.name}")
    say_next(f"hnas run --config {quoted(path)}")
