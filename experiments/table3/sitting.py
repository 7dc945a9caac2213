"""One sitting with a device: its layers, test networks and training networks in one shuffled order, kept as they come.

Drift of clock and temperature then hits the table and the predictor alike. Layers and test networks are measured in
all rounds that the device asks for, a training network once: for a predictor, more networks are worth more than better
known ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import asdict, define, field

from hnas import Architecture, DataError, HardwareBackend, InfeasibleError, Layer, Measurement, SearchSpace, Seeds
from hnas.cost import DeviceInfo, LayerCosts
from hnas.layer import Shape
from hnas_app.costs.measuring import ONE, Network, Sitting
from hnas_app.costs.profile import ProfilePlan, network_key
from hnas_app.search.sizes import true_size
from hnas_app.trackers.json_lines import JsonLines

BLOCK = 25
"""Items between two looks at the clock, where the device asks for no anchors."""
TRIES = 200
"""Draws in a row that give no new network, before a space is taken for exhausted."""


@define(kw_only=True)
class Networks:
    """The networks of the experiment by key, in the order of drawing; a larger number begins with the same ones."""

    test: dict[str, Architecture]
    train: dict[str, Architecture]
    layers: dict[str, Network]

    @classmethod
    def drawn(cls, space: SearchSpace, shape: Shape, n_way: int, test: int, train: int, seeds: Seeds) -> Networks:
        """Draw networks that differ in their layers. Raises `InfeasibleError` where the space has too few."""
        generator = seeds.numpy("table3-networks")
        found: dict[str, Architecture] = {}
        layers: dict[str, Network] = {}
        tries = 0
        wanted = min(test + train, true_size(space))
        while len(found) < wanted and tries <= TRIES:
            arch = space.sample(generator)
            network = tuple(space.layers(arch, shape, n_way))
            key = network_key(network)
            tries = tries + 1 if key in found else 0
            found.setdefault(key, arch)
            layers.setdefault(key, network)
        if len(found) < test + train:
            raise InfeasibleError(
                f"{test} test and {train} training networks are more than the {len(found)} that were found in the "
                "space",
                hint="lower --train or --test",
            )
        keys = list(found)
        return cls(
            test={k: found[k] for k in keys[:test]}, train={k: found[k] for k in keys[test:]}, layers=layers
        )  # fmt: skip


@define
class Timed(HardwareBackend):
    """A backend with a stopwatch: ``seconds`` has the wall time of the last measurement of each item."""

    backend: HardwareBackend
    seconds: dict[str, float] = field(factory=dict)

    def describe(self) -> DeviceInfo:
        return self.backend.describe()

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        answers = self.backend.measure(layers)
        for layer in layers:
            started = time.perf_counter()
            costs = next(answers, None)
            if costs is None:
                return
            self.seconds[layer.key] = time.perf_counter() - started
            yield costs
        yield from answers  # none, and what the backend does at its end

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        started = time.perf_counter()
        costs = self.backend.measure_network(layers)
        self.seconds[network_key(tuple(layers))] = time.perf_counter() - started
        return costs

    def close(self) -> None:
        self.backend.close()


@define(kw_only=True)
class Log:
    """What was measured, as JSON lines: a kill loses the item in hand."""

    lines: JsonLines
    found: dict[str, dict[int, LayerCosts]] = field(factory=dict)
    """Item to round to costs; items stand in the order of their first measurement."""
    seconds: dict[str, float] = field(factory=dict)
    """Wall time of each item, all rounds together, with those that were voided."""
    sittings: int = 0

    @classmethod
    def opened(cls, lines: JsonLines, what: Mapping[str, Any]) -> Log:
        """Read what is there and go on. Raises `DataError` where it is of another experiment or device."""
        log = cls(lines=lines)
        for line in lines.read():
            log._take(line, what)
        lines.append({"sitting": dict(what), "at": time.time()}, sync=True)
        log.sittings += 1
        return log

    def save(self, rows: Mapping[str, LayerCosts], nth: int, seconds: Mapping[str, float]) -> None:
        for key, costs in rows.items():
            line = {
                "key": key,
                "round": nth,
                "seconds": seconds.get(key, 0.0),
                "costs": {name: asdict(m) for name, m in costs.items()},
            }
            self.lines.append(line, sync=True)
            self._take(line, {})

    def discard(self, keys: Sequence[str], nth: int) -> None:
        line = {"discard": list(keys), "round": nth}
        self.lines.append(line, sync=True)
        self._take(line, {})

    def _take(self, line: Mapping[str, Any], what: Mapping[str, Any]) -> None:
        if "sitting" in line:
            self.sittings += 1
            changed = [k for k in what if line["sitting"].get(k) != what[k]]
            if changed:
                told = "; ".join(f"{k} was {line['sitting'].get(k)!r}, is {what[k]!r}" for k in changed)
                raise DataError(
                    f"{self.lines.path} holds measurements of something else: {told}",
                    hint="give another --out, or move that file away",
                )
        elif "discard" in line:
            for key in line["discard"]:
                self.found.get(key, {}).pop(line["round"], None)
        else:
            key = line["key"]
            costs = {n: Measurement(**{**m, "samples": tuple(m["samples"])}) for n, m in line["costs"].items()}
            self.found.setdefault(key, {})[line["round"]] = costs
            self.seconds[key] = self.seconds.get(key, 0.0) + line["seconds"]


def measure(
    backend: Timed, plan: ProfilePlan, networks: Networks, log: Log, *, train_s: float, seeds: Seeds
) -> Sitting:
    """Measure all that the log lacks; of the training networks, what ``train_s`` seconds suffice for."""
    rounds = plan.info.rounds or ONE
    items = {layer.key: layer for layer in plan.layers} | networks.layers
    sitting = Sitting(
        backend=backend, info=plan.info, items=items, anchor=plan.anchor, discard=log.discard, seeds=seeds,
        save=lambda rows, nth: log.save(rows, nth, backend.seconds), tell=lambda text: print(text, flush=True),
        sleep=time.sleep,
    )  # fmt: skip
    for nth, keys in _blocks(plan, networks, log, rounds.anchor_every or BLOCK, rounds.count, train_s, seeds):
        sitting.run({nth: keys})
    return sitting


def _blocks(
    plan: ProfilePlan, networks: Networks, log: Log, size: int, rounds: int, train_s: float, seeds: Seeds
) -> Iterator[tuple[int, list[str]]]:
    """Yield blocks of one round each: always from that of the two streams which has come less far.

    How far training networks have come is told by their number or by their time, whichever is nearer its end.
    """
    every = [*(layer.key for layer in plan.layers), *networks.test]
    fixed = [(nth, every[i]) for nth in range(rounds) for i in seeds.numpy("table3-order", nth).permutation(len(every))]
    waiting = [(nth, key) for nth, key in fixed if nth not in log.found.get(key, {})]
    train = [key for key in networks.train if not log.found.get(key)]
    while True:
        nth = waiting[0][0] if waiting else rounds - 1
        measured = [key for key in networks.train if log.found.get(key)]
        spent = sum(log.seconds.get(key, 0.0) for key in networks.train)
        each_s = spent / len(measured) if measured else 0.0
        block: list[str] = []
        planned = 0
        while len(block) < size:
            by_count = (len(measured) + planned) / max(1, len(networks.train))
            come = max(by_count, (spent + planned * each_s) / train_s if train_s else 1.0)
            if train and come < 1 and come <= 1 - len(waiting) / max(1, len(fixed)):
                block.append(train.pop(0))
                planned += 1
            elif waiting and waiting[0][0] == nth:
                block.append(waiting.pop(0)[1])
            else:
                break
        if not block:
            return
        yield nth, block
