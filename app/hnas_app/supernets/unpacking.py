"""A super-net unpacked as a run directory whose meta-training is done: in the user's cache, once, read only."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnas._version import __version__
from hnas.discovery import Registered, Registry
from hnas.errors import ConfigError, DataError, HnasError, PluginError
from hnas.toolkit.codec import from_json, save, to_json
from hnas.toolkit.files import checksum, parse_json, write_error
from hnas_app.config.load import load_config
from hnas_app.runs.run_dir import SPLITS_FILE, RunDir, slug
from hnas_app.runs.super_net import Origin
from hnas_app.runs.tasks_check import Splits
from hnas_app.supernets.files import PARTS, Part, content, descriptor_of, folder, path_of, titled
from hnas_app.training.checkpoint import load_checkpoint, save_checkpoint
from hnas_app.training.meta_train import PHASE

if TYPE_CHECKING:
    from hnas.learner import State
    from hnas_app.config.schema import Config

SPLITS = "splits"
"""The key of the metadata of the weights' file that holds the classes trained on, as `Splits` in JSON."""


def unpacked(registered: Registered, registry: Registry) -> RunDir:
    """Return the run directory of a super-net: every file is verified, and it is unpacked unless that was done.

    Several processes may do so at once. Raises `DataError` for a file that is missing or damaged, or whose content does
    not fit, and `ConfigError` or `PluginError` for a configuration that this hnas does not know.
    """
    found = {part: content(registered, part) for part in PARTS}
    origin = _origin(registered)
    key = checksum([to_json(origin), descriptor_of(registered).config.sha256, __version__])
    run = RunDir(folder() / f"{slug(origin.name)}-{key[:12]}")
    if _is_whole(run, origin):
        return run
    aside = folder() / f".{os.getpid()}-{secrets.token_hex(3)}.tmp"
    made = RunDir(aside / run.path.name)
    try:
        made.path.mkdir(parents=True)
        _make(made, registered, registry, origin, found)
        _publish(made, run, origin)
    except OSError as cause:
        raise write_error(made.path, cause) from cause
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return run


def configured(registered: Registered, registry: Registry, path: Path) -> Config:
    """Return the configuration of a super-net, which stands in the file ``path`` of a run directory.

    Raises `ConfigError` or `PluginError` that names the super-net, if this hnas does not know a setting or a plugin.
    """
    try:
        try:
            return load_config(registry, file=path, env={}).config
        except PluginError:  # the device of its author need not be here
            return load_config(registry, file=path, env={}, instead=["backend"]).config
    except (ConfigError, PluginError) as cause:
        requires = shlex.join(descriptor_of(registered).requires)
        needs = f"pip install {requires}, or " if requires else ""
        told = str(cause).replace(str(path), str(path_of(descriptor_of(registered).config)))  # the file that stays
        raise type(cause)(
            f"the configuration of {titled(registered)} is not one that hnas {__version__} knows: {told}",
            hint=f"{needs}upgrade hnas: pip install --upgrade hnas",
        ) from cause


def read_weights(registered: Registered, found: bytes) -> tuple[State, Splits]:
    """Return the tensors of verified weights, and the classes they were trained on. Raises `DataError`."""
    import safetensors.torch

    what = f"the weights of {titled(registered)}"
    try:
        state = safetensors.torch.load(found)
        told = parse_json(found[8 : 8 + int.from_bytes(found[:8], "little")]).get("__metadata__") or {}
        splits = parse_json(told[SPLITS]) if SPLITS in told else {"sources": {}}
    except Exception as cause:
        raise DataError(
            f"{what} are not a safetensors file: {cause}", hint="report it to the authors of the super-net"
        ) from cause
    return state, from_json(splits, Splits, what, hint="report it to the authors of the super-net")


def check_fit(registered: Registered, registry: Registry, config: Config, state: State) -> None:
    """Raise `DataError` unless weights fit the space, and the images are those of the descriptor."""
    from hnas_app.runs.session import setup_of

    setup, title, wanted = setup_of(config, registry), titled(registered), descriptor_of(registered)
    if setup.image_shape != wanted.image_shape:
        raise DataError(
            f"{title} is for images of {wanted.image_shape} by its descriptor, of {setup.image_shape} by its settings",
            hint="report it to the authors of the super-net",
        )
    if misfit := setup.misfit(state):
        raise DataError(
            f"the weights of {title} do not fit the space {config.space.name!r} of hnas {__version__}: {misfit}",
            hint="use the version of hnas that it was made for, which its card names, or a newer super-net",
        )


def _origin(registered: Registered) -> Origin:
    found = descriptor_of(registered)
    return Origin(
        name=found.name,
        distribution=registered.distribution,
        version=registered.version,
        sha256=found.weights.sha256,
        licence=found.licence,
        image_shape=found.image_shape,
        n_way=found.n_way,
    )


def _is_whole(run: RunDir, origin: Origin) -> bool:
    """Return whether a run directory holds the super-net, undamaged."""
    if not run.record_path.is_file():
        return False
    try:
        RunDir.open(run.path)
        (saved,) = (run.checkpoints / PHASE).glob("state-*.json")
        load_checkpoint(saved)
        return bool(run.record().get("supernet") == to_json(origin))
    except (HnasError, ValueError):
        return False


def _make(made: RunDir, registered: Registered, registry: Registry, origin: Origin, found: dict[Part, bytes]) -> None:
    """Fill a folder, which no other process knows, with the files of a run whose meta-training is done."""
    made.config_path.write_bytes(found["config"])
    made.record_path.write_text("{}")  # so that the file is read as that of a run: what it lacks came later
    config = configured(registered, registry, made.config_path)
    state, splits = read_weights(registered, found["weights"])
    check_fit(registered, registry, config, state)
    done = config.meta_train.epochs * config.meta_train.iterations
    save_checkpoint(made.checkpoints / PHASE, f"state-{done:08d}", state, {"iteration": done})
    if splits.sources:
        save(made.path / SPLITS_FILE, splits)
    (made.path / "card.md").write_bytes(found["card"])
    phases: dict[str, dict[str, Any]] = {PHASE: {"state": "done", "unpacked": str(origin)}}
    RunDir.create(config, path=made.path, phases=phases, supernet=json.loads(json.dumps(to_json(origin))))


def _publish(made: RunDir, run: RunDir, origin: Origin) -> None:
    """Put a finished folder in its place, unless another process was faster; a damaged one there is replaced."""
    for _ in range(2):
        try:
            os.rename(made.path, run.path)
            return
        except OSError:
            if not run.path.is_dir():
                raise
        if _is_whole(run, origin):
            return
        shutil.rmtree(run.path, ignore_errors=True)
    raise DataError(f"{run.path} is damaged, and cannot be replaced", hint=f"delete {run.path}")
