"""``hnas adapt`` for several backends and limits: one folder, a search for each pair, all from one super-net."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import typer
from attrs import frozen

from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import note, print_json, print_table, say_next
from hnas_app.runs.run_dir import RunDir, is_sweep, slug

if TYPE_CHECKING:
    from hnas_app.config.schema import Config
    from hnas_app.sweeps.record import SweepPair, SweepRecord


@frozen(kw_only=True)
class Pairs:
    """What was given of ``--backend`` and ``--constraint``: every backend is paired with every set of limits."""

    backends: tuple[str, ...]
    constraints: tuple[str, ...]

    @property
    def backend(self) -> str | None:
        """The one backend, of a search that is no sweep."""
        return self.backends[0] if self.backends else None

    def are_several(self, run: Path) -> bool:
        """Tell whether a sweep is meant: several pairs, or the folder of one to go on with."""
        return len(self.backends) > 1 or len(self.constraints) > 1 or is_sweep(run)


def adapt_pairs(
    call: Invocation,
    path: Path,
    pairs: Pairs,
    *,
    as_json: bool,
    same_results: Mapping[str, Any],
    device: str | None,
    strategy: str | None,
    sets: Sequence[str] | None,
) -> None:
    """Search for all pairs with the super-net of the run ``path``, in a new folder beside it; or go on in ``path``.

    ``same_results`` are the flags that results do not depend on.
    """
    from hnas.errors import ConfigError, InfeasibleError
    from hnas.toolkit.codec import to_json
    from hnas_app.sweeps.record import read_sweep

    if fresh := not is_sweep(path):
        folder = _new(call, path, pairs, device=device, strategy=strategy, sets=sets, **same_results)
    elif pairs.backends or pairs.constraints or device or strategy or sets:
        raise ConfigError(
            f"{path} is a sweep's folder: its pairs and settings are chosen already",
            hint=f"`hnas adapt {path}` goes on with it; name a run to sweep anew with its super-net",
        )
    else:
        folder = path
    record = read_sweep(folder)
    if not record.is_done:
        try:
            record = _search(call, folder, record, same_results)
        except (ConfigError, InfeasibleError):
            if fresh:  # nothing was scored: the same command with other limits makes another folder
                shutil.rmtree(folder)
            raise
    if as_json:
        return print_json(to_json(record))
    _show(folder, record)


def _new(call: Invocation, path: Path, pairs: Pairs, *, device: str | None, **flags: Any) -> Path:
    """Make a sweep's folder, with a run directory for each pair. Raises before that where a pair makes no sense."""
    from hnas.errors import ConfigError
    from hnas_app.sweeps.at_work import check_pairs
    from hnas_app.sweeps.record import SweepPair, SweepRecord, new_folder

    run = RunDir.open(path)
    if device is not None and len(pairs.backends) > 1:
        raise typer.BadParameter("is for one backend; write --backend NAME:DEVICE for each", param_hint="--device")
    for flag, given in (("--backend", pairs.backends), ("--constraint", pairs.constraints)):
        if twice := [text for i, text in enumerate(given) if text in given[:i]]:
            raise typer.BadParameter(f"{twice[0]!r} is given twice", param_hint=flag)
    planned: list[SweepPair] = []
    configs: dict[str, Config] = {}
    mistakes: list[ConfigError] = []
    for backend in pairs.backends or (None,):
        try:
            config = _config(call, run, backend=backend, device=device, **flags)
        except ConfigError as mistake:
            mistakes.append(mistake)
            continue
        for limits in _sets(pairs.constraints) or [config.constraints]:
            name = f"{len(planned) + 1:02d}-{slug(config.backend.name)}"
            planned.append(SweepPair(name=name, backend=backend or config.backend.name, constraints=limits))
            configs[name] = attrs.evolve(config, constraints=limits)
    if mistakes:
        raise ConfigError("\n".join(map(str, mistakes)), hint=mistakes[0].hint)
    check_pairs(planned, configs, call.registry)
    folder = new_folder(path.parent)
    try:
        for name, config in configs.items():
            run.branch(config, path=folder / name)
        SweepRecord(supernet=str(path), pairs=tuple(planned)).write(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _search(call: Invocation, folder: Path, record: SweepRecord, same_results: Mapping[str, Any]) -> SweepRecord:
    from hnas_app.cli.phases import terminated_like_interrupted
    from hnas_app.sweeps.at_work import run_sweep, sweep_session
    from hnas_app.trackers.terminal import display

    runs = {pair.name: RunDir.open(folder / pair.name) for pair in record.pairs}
    configs = {name: _config(call, run, **same_results) for name, run in runs.items()}
    for name, run in runs.items():
        run.check_config(configs[name])
    call.resume = f"hnas adapt {folder}"
    with (
        terminated_like_interrupted(),
        closing(display()) as shown,
        sweep_session(folder, configs, call.registry, emit=shown, notify=note) as pipelines,
    ):
        return run_sweep(folder, record, pipelines, emit=shown)


def _config(call: Invocation, run: RunDir, **flags: Any) -> Config:
    from hnas_app.cli.phases import load_checked

    # Quiet: what the run's file says of its own backend is no news for the others.
    return load_checked(call, config=run.config_path, quiet=True, **flags).config


def _sets(constraints: Sequence[str]) -> list[tuple[str, ...]]:
    from hnas_app.costs.limits import split_limits

    return [split_limits(text) for text in constraints]


def _show(folder: Path, record: SweepRecord) -> None:
    """Print a line for each pair, with its first metric, and what all cost together."""
    rows = []
    for pair in record.pairs:
        found = pair.found
        assert found is not None
        column, value = next(iter(found.cost.items()))
        rows.append(
            (
                pair.name, pair.backend, ",".join(pair.constraints) or "default", f"{found.loss:.4f}",
                f"{100 * found.accuracy:.1f} %", f"{column} {value:.5g}", f"{found.cost['params']:,.0f}",
                f"{found.cost['macs']:,.0f}", f"{found.evaluations:,}",
            )
        )  # fmt: skip
    head = ("pair", "backend", "limits", "loss", "accuracy", "cost", "params", "macs", "evaluations")
    print_table(head, rows)
    assert record.evaluations is not None
    print(
        f"\n{record.evaluations:,} evaluations (an architecture adapted to a task) for {len(rows)} pairs, "
        f"{record.evaluations / len(rows):,.0f} each; each pair is a run directory in {folder}"
    )
    say_next(f"hnas retrain {folder / record.pairs[0].name}, or of another pair; `hnas runs {folder}` lists them")
