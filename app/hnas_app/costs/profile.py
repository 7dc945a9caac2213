"""Phase 2: profile the device once, layer by layer; every task and every limit then reads the same table."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
from attrs import frozen

from hnas.backend import HardwareBackend
from hnas.cost import CostTable, DeviceInfo, LayerCosts, check_costs, priced
from hnas.errors import DeviceError
from hnas.events import Event, Listener
from hnas.layer import Layer, Shape
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.toolkit.codec import to_json
from hnas.toolkit.table_file import RoundCosts, combine
from hnas_app.costs.agreement import agreement
from hnas_app.costs.checked_info import as_json
from hnas_app.costs.checked_layers import distinct_layers, whole
from hnas_app.costs.description import described
from hnas_app.costs.faults import faults_of
from hnas_app.costs.measuring import ONE, Item, Network, Sitting, typical_spread
from hnas_app.costs.steadiness import unsteady_layers
from hnas_app.costs.store import CostStore, scope


@frozen(kw_only=True)
class ProfilePlan:
    """The layers and networks that a profile of one space on one device measures, and their stored rows."""

    info: DeviceInfo
    layers: tuple[Layer, ...]
    """Every distinct layer that costs something on the device."""
    networks: Mapping[str, Network]
    """Whole networks that verify the table, by key."""
    anchor: Layer | None
    known: RoundCosts
    """The stored rows of these layers and networks."""

    @property
    def items(self) -> dict[str, Item]:
        return {layer.key: layer for layer in self.layers} | dict(self.networks)

    @property
    def missing(self) -> dict[int, list[str]]:
        """The keys that each round still has to measure, layers first."""
        count = (self.info.rounds or ONE).count
        return {nth: [k for k in self.items if nth not in self.known.get(k, {})] for nth in range(count)}

    @property
    def expected_s(self) -> float | None:
        """The estimated time to measure all missing rows, in seconds; ``None`` if the device gives none."""
        per_layer = (self.info.rounds or ONE).layer_s
        return per_layer * sum(map(len, self.missing.values())) if per_layer else None


def plan(
    backend: HardwareBackend,
    space: SearchSpace,
    input_shape: Shape,
    n_way: int,
    *,
    store: CostStore | None,
    verify: int = 0,
    fresh: bool = False,
    seeds: Seeds = Seeds(0),  # noqa: B008 - frozen
) -> ProfilePlan:
    """Plan a profile from the device's description and the stored rows; measure and change nothing. See `profile`."""
    info = described(backend)
    layers = tuple(layer for layer in distinct_layers(space, input_shape, n_way) if priced(info, layer))
    networks = random_networks(space, input_shape, n_way, verify, seeds) if verify else {}
    stored = store.load(info) if store is not None and not fresh else {}
    wanted = [*(layer.key for layer in layers), *networks]
    known = {key: _usable(info, key, stored[key]) for key in wanted if key in stored}
    return ProfilePlan(info=info, layers=layers, networks=networks, anchor=_middle(layers), known=known)


def profile(
    backend: HardwareBackend,
    space: SearchSpace,
    input_shape: Shape,
    n_way: int,
    *,
    store: CostStore | None,
    emit: Listener,
    verify: int = 0,
    fresh: bool = False,
    seeds: Seeds = Seeds(0),  # noqa: B008 - frozen
    sleep: Callable[[float], None] = time.sleep,
) -> CostTable:
    """Return the cost table of every distinct layer that costs something on the device, checked by the backend.

    Rows of this device in the store are not measured again. The rest is measured in the rounds that the device asks
    for. Each row is saved as it comes, so that an interrupted profile goes on where it stopped. With ``verify``, as
    many random networks are measured end to end, in the same rounds; the table's ``check`` reports how well it predicts
    them. With ``fresh``, the rows to measure are first deleted from the store. The caller closes the backend.

    Raises `DeviceError` if the device fails or its answers make no sense, and `DataError` if the store cannot be used.
    """
    todo = plan(backend, space, input_shape, n_way, store=store, verify=verify, fresh=fresh, seeds=seeds)
    info, found = todo.info, {key: dict(rounds) for key, rounds in todo.known.items()}
    missing = todo.missing
    if store is not None:
        if fresh:  # before the first measurement: else a profile that is interrupted leaves old rows among new ones
            _forget(store, info, todo.items, scope(space, input_shape))
        if any(missing.values()) or not store.read_only:  # known rows can be read from a store that is read only
            store.save_device(info, to_json(info))
    total = sum(map(len, missing.values())) + sum(map(len, found.values()))
    lacking = {key for keys in missing.values() for key in keys}
    counts = {"layers": len(todo.layers), "reused": len(todo.items) - len(lacking), "measured": len(lacking)}

    done = 0

    def tell(kind: str, text: str = "", values: Mapping[str, Any] | None = None) -> None:
        nonlocal done  # rows of a repeated block are gone, but a count that runs backwards tells nobody how far it is
        done = max(done, sum(map(len, found.values())))
        emit(Event(phase="profile", kind=kind, done=done, total=total, text=text, values=values or {}))

    def save(rows: Mapping[str, LayerCosts], nth: int) -> None:
        if store is not None:
            store.save(info, rows, nth)
        for key, costs in rows.items():
            found.setdefault(key, {})[nth] = dict(costs)
        tell("step")

    def discard(keys: Sequence[str], nth: int) -> None:
        if store is not None:
            store.discard(info, keys, nth)
        for key in keys:
            found.get(key, {}).pop(nth, None)

    tell("start", info.device, counts)
    for warning in info.conditions.get("warnings", ()):
        tell("note", str(warning))
    sitting = Sitting(
        backend=backend, info=info, items=todo.items, anchor=todo.anchor, save=save, discard=discard,
        tell=lambda text: tell("note", text), seeds=seeds, sleep=sleep,
    )  # fmt: skip
    sitting.run(missing)

    rows = {layer.key: combine(found[layer.key]) for layer in todo.layers}
    with faults_of(f"the backend {info.backend} failed in check_table()"):
        check = as_json(backend.check_table(rows, todo.layers), f"check_table() of the backend {info.backend} gave")
    if info.rounds is not None:
        spread = typical_spread((found[layer.key] for layer in todo.layers), info.metrics[0].name)
        check["rounds"] = {
            "count": info.rounds.count,
            "typical_spread": spread,
            "blocks_repeated": sitting.repeated,
            "blocks_unsteady": sitting.unsteady,
            "unsteady_layers": unsteady_layers(
                {key: found[key] for key in rows}, info.metrics[0].name, info.rounds, sitting.kept
            ),
        }
    calibration = store.load_calibration(info).get(scope(space, input_shape), {}) if store is not None else {}
    table = CostTable(info=info, rows=rows, check=check, calibration=calibration)
    if todo.networks:
        measured = {key: combine(found[key]) for key in todo.networks}
        table = attrs.evolve(table, check=check | {"verified": verified(table, todo.networks, measured)})
    tell("end", values=counts | {"check": dict(table.check)})
    return table


def _forget(store: CostStore, info: DeviceInfo, keys: Iterable[str], where: str) -> None:
    """Forget these rows in every round, and the calibration that was fitted to them."""
    stored = store.load(info)
    known = [key for key in keys if key in stored]
    for nth in sorted({nth for key in known for nth in stored[key]}):
        store.discard(info, known, nth)
    calibration = store.load_calibration(info)
    if calibration.pop(where, None):
        store.save_calibration(info, calibration)


def random_networks(space: SearchSpace, input_shape: Shape, n_way: int, count: int, seeds: Seeds) -> dict[str, Network]:
    """Return random networks of the space by key, at most ``count``: those with equal layers count once."""
    generator = seeds.numpy("verify")
    drawn = (whole(space, space.layers(space.sample(generator), input_shape, n_way)) for _ in range(count))
    return {network_key(network): network for network in drawn}


def network_key(network: Network) -> str:
    """Return the row of a whole network in the cost store: of its layers, and of what they say that they read."""
    layers = (f"{layer.key} {layer.reads}" if layer.reads else layer.key for layer in network)
    return "network-" + hashlib.sha256("\n".join(layers).encode()).hexdigest()[:20]


def verified(table: CostTable, networks: Mapping[str, Network], measured: Mapping[str, LayerCosts]) -> dict[str, Any]:
    """Compare the table's estimates with networks measured end to end, in the first metric, as a JSON object.

    ``estimated`` and ``measured`` are the values; with a calibration, ``calibrated`` compares the calibrated estimates.
    """
    metric = table.info.metrics[0]
    raw = attrs.evolve(table, calibration={})
    truth = [measured[key][metric.name].median for key in networks]
    sums = [raw.cost(network)[metric.name] for network in networks.values()]
    found: dict[str, Any] = {"metric": metric.column, **attrs.asdict(agreement(sums, truth))}
    if metric.name in table.calibration:
        lines = [table.cost(network)[metric.name] for network in networks.values()]
        found["calibrated"] = attrs.asdict(agreement(lines, truth))
    return found | {"estimated": sums, "measured": truth}


def _middle(layers: Sequence[Layer]) -> Layer | None:
    """Return the anchor: the middle one of the layers that compute, so neither overhead nor caches dominate it."""
    computing = sorted((layer for layer in layers if layer.macs), key=lambda la: (la.macs, la.key))
    return computing[len(computing) // 2] if computing else None


def _usable(info: DeviceInfo, key: str, rounds: Mapping[int, LayerCosts]) -> dict[int, Any]:
    """Return the rounds that hold all present metrics of the device, at most as many as it asks for."""
    found = {}
    for nth, costs in rounds.items():
        with suppress(DeviceError):
            check_costs(info, key, costs)
            if nth < (info.rounds or ONE).count:
                found[nth] = costs
    return found
