"""The suite catches a broken backend, whatever is broken: one test fails, the one that is meant for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen

from hnas import DeviceError, DeviceInfo, HardwareBackend, Layer, Measurement, Metric, Rounds
from hnas.cost import LayerCosts, sum_over_layers
from hnas.settings import positive, setting
from hnas.testing import BackendConformance
from hnas.toolkit.operations import OPERATIONS


class Board(HardwareBackend):
    """Nothing is wrong with it."""

    @frozen(kw_only=True)
    class Options:
        gmacs: float = setting(1.0, "speed", positive)

    def __init__(self, options: Any = None) -> None:
        self.options = options or self.Options()

    def describe(self) -> DeviceInfo:
        return DeviceInfo(
            backend="board",
            device="a board",
            runtime="1",
            metrics=(Metric(name="latency", unit="ms"), Metric(name="memory", unit="B", combine="max")),
            settings={"gmacs": self.options.gmacs},
        )

    def cost(self, layer: Layer) -> LayerCosts:
        latency = (layer.macs + layer.params + math.prod(layer.out_shape)) / self.options.gmacs
        return {
            "latency": Measurement(median=latency, unit="ms"),
            "memory": Measurement(median=float(math.prod(layer.in_shape)), unit="B"),
        }

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        for layer in layers:
            yield self.cost(layer)

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        return sum_over_layers(self, layers)


class NoHelp(Board):
    @frozen(kw_only=True)
    class Options:
        gmacs: float = 1.0


class WrongDefault(Board):
    @frozen(kw_only=True)
    class Options:
        gmacs: float = setting(1.0, "speed", positive)
        cores: int = field(default="two", metadata={"help": "how many"})


class PathInSettings(Board):
    def describe(self) -> DeviceInfo:
        return evolve(super().describe(), conditions={"port": Path("tty")})


class UnknownUnit(Board):
    def describe(self) -> DeviceInfo:
        latency, memory = super().describe().metrics
        return evolve(super().describe(), metrics=(evolve(latency, unit="fortnights"), memory))

    def cost(self, layer: Layer) -> LayerCosts:
        cost = super().cost(layer)
        return {**cost, "latency": evolve(cost["latency"], unit="fortnights")}


class CoreMetric(Board):
    """Its metric has a name that the core has taken."""

    def describe(self) -> DeviceInfo:
        latency, memory = super().describe().metrics
        return evolve(super().describe(), metrics=(latency, evolve(memory, name="params", combine="sum", unit="")))

    def cost(self, layer: Layer) -> LayerCosts:
        return {"latency": super().cost(layer)["latency"], "params": Measurement(median=float(layer.params))}


class CountsItsDescriptions(Board):
    described = 0

    def describe(self) -> DeviceInfo:
        self.described += 1
        return evolve(super().describe(), settings={"gmacs": self.options.gmacs, "described": self.described})

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        return None


class HidesAnOption(Board):
    def describe(self) -> DeviceInfo:
        return evolve(super().describe(), settings={})


class SkipsTheLast(Board):
    """Of several layers the last one is left out."""

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        yield from super().measure(layers[:-1] if len(layers) > 1 else layers)

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        return None


class YieldsTwice(Board):
    """A last row too many, which a reader that pairs rows and layers does not see."""

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        yield from super().measure(layers)
        if len(layers) > 1:
            yield self.cost(layers[-1])

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        return None


class UndeclaredMetric(Board):
    def cost(self, layer: Layer) -> LayerCosts:
        return {**super().cost(layer), "energy": Measurement(median=1.0, unit="mJ")}


class NegativeLatency(Board):
    def cost(self, layer: Layer) -> LayerCosts:
        cost = super().cost(layer)
        return {**cost, "latency": evolve(cost["latency"], median=-cost["latency"].median)}


class PlainNumbers(Board):
    """It yields numbers where measurements are wanted."""

    def cost(self, layer: Layer) -> LayerCosts:
        return {name: m.median for name, m in super().cost(layer).items()}


class OneNumber(Board):
    def cost(self, layer: Layer) -> LayerCosts:
        return super().cost(layer)["latency"].median


class WorksOnce(Board):
    """An iterator that is left in the middle leaves the device busy."""

    busy = False

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        if self.busy:
            return
        for layer in layers:
            self.busy = True
            yield self.cost(layer)
            self.busy = False


class DiffersByInstance(Board):
    """Every second instance is faster, as with a cache that the first one fills."""

    made = 0

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        DiffersByInstance.made += 1
        self.factor = 1.0 if DiffersByInstance.made % 2 else 0.5

    def cost(self, layer: Layer) -> LayerCosts:
        cost = super().cost(layer)
        return {**cost, "latency": evolve(cost["latency"], median=self.factor * cost["latency"].median)}


class RemembersItsNeighbour(Board):
    """A layer is cheaper behind one of the same output, whose result is still in the cache."""

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        before = None
        for layer in layers:
            cost = self.cost(layer)
            factor = 0.5 if before == layer.in_shape else 1.0
            yield {**cost, "latency": evolve(cost["latency"], median=factor * cost["latency"].median)}
            before = layer.out_shape


class FusedNetwork(Board):
    """Whole networks take half of what their layers do."""

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        total = dict(super().measure_network(layers) or {})
        return {**total, "latency": evolve(total["latency"], median=total["latency"].median / 2)}


class WrongNoise(FusedNetwork):
    """The same on a device that says of itself that it is noisy, and far beyond noise."""

    def describe(self) -> DeviceInfo:
        return evolve(super().describe(), rounds=Rounds())

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        total = dict(super().measure_network(layers) or {})
        return {**total, "latency": evolve(total["latency"], median=total["latency"].median / 10)}


class TupleInSettings(Board):
    """JSON has no tuples: what comes back is another device."""

    def describe(self) -> DeviceInfo:
        return evolve(super().describe(), settings={"gmacs": self.options.gmacs, "grid": (12, 14)})


class LooksItUp(Board):
    def cost(self, layer: Layer) -> LayerCosts:
        known = dict.fromkeys(("conv2d", "linear", "norm", "relu", "elu", "max_pool", "avg_pool", "add"), 1.0)
        cost = super().cost(layer)
        return {**cost, "latency": evolve(cost["latency"], median=known[layer.op] * cost["latency"].median)}


class NamesNoLayer(Board):
    """The error does not say which of the thousands of layers it was."""

    def cost(self, layer: Layer) -> LayerCosts:
        if layer.dilation > 1:
            raise DeviceError("dilation is unknown here")
        return super().cost(layer)


class Everything(frozenset[str]):
    """Holds whatever it is asked for."""

    def __contains__(self, name: object) -> bool:
        return True


class PricesEverything(Board):
    """It says that it prices whatever there may be."""

    def describe(self) -> DeviceInfo:
        return evolve(super().describe(), ops=Everything(OPERATIONS))


class ClosesWhatIsNotOpen(Board):
    link: Any = None

    def describe(self) -> DeviceInfo:
        self.link = object()
        return super().describe()

    def close(self) -> None:
        if self.link is None:
            raise AttributeError("no link to close")


BROKEN = {
    NoHelp: "test_options_have_types_defaults_and_help",
    WrongDefault: "test_options_survive_the_configuration_file",
    UnknownUnit: "test_metrics_take_limits",
    CoreMetric: "test_metrics_take_limits",
    CountsItsDescriptions: "test_describes_the_same_device_again",
    HidesAnOption: "test_fingerprint_tells_settings_apart",
    SkipsTheLast: "test_yields_one_row_for_each_layer",
    YieldsTwice: "test_yields_one_row_for_each_layer",
    UndeclaredMetric: "test_rows_hold_every_metric_in_its_unit",
    NegativeLatency: "test_rows_hold_every_metric_in_its_unit",
    PlainNumbers: "test_rows_hold_every_metric_in_its_unit",
    OneNumber: "test_rows_hold_every_metric_in_its_unit",
    WorksOnce: "test_a_measurement_can_be_interrupted",
    DiffersByInstance: "test_measuring_again_gives_the_same",
    RemembersItsNeighbour: "test_a_layer_costs_the_same_among_others",
    FusedNetwork: "test_networks_cost_what_their_layers_do",
    WrongNoise: "test_networks_cost_what_their_layers_do",
    TupleInSettings: "test_table_survives_json",
    LooksItUp: "test_a_layer_it_does_not_know_is_its_own_error",
    NamesNoLayer: "test_a_layer_it_does_not_know_is_its_own_error",
    PricesEverything: "test_operations_of_others_are_refused_before_anything_is_measured",
    ClosesWhatIsNotOpen: "test_closes_whatever_happened",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_backend_fails_the_test_for_it(broken, failures, expect_only):
    expect_only(failures(BackendConformance, broken), BROKEN[broken])


class KnowsSome(Board):
    """It prices two operations, declares some free, and leaves the rest to be refused, as backends may."""

    def describe(self) -> DeviceInfo:
        ops, free = frozenset({"conv2d", "linear"}), frozenset({"norm", "relu", "max_pool", "avg_pool"})
        return evolve(super().describe(), ops=ops, free=free)


def test_nothing_is_said_against_one_that_does_not_know_all_operations(failures):
    assert failures(BackendConformance, KnowsSome) == {}


def test_nothing_is_said_against_a_good_one(failures):
    assert failures(BackendConformance, Board) == {}


def test_every_test_has_a_broken_backend():
    tests = {name for name in dir(BackendConformance) if name.startswith("test_")}
    assert tests - set(BROKEN.values()) == {"test_describes_a_device"}  # a description that is no JSON breaks more


def test_a_description_that_is_no_json_is_told(failures):
    failed = failures(BackendConformance, PathInSettings)
    assert "DeviceInfo.conditions to be JSON" in failed["test_describes_a_device"]


def test_what_is_no_cost_is_told_with_the_layer_and_the_value(failures):
    (negative,) = failures(BackendConformance, NegativeLatency).values()
    assert "board gave latency = -" in negative
    assert "expected a finite number, not negative" in negative
    (plain,) = failures(BackendConformance, PlainNumbers).values()
    assert "expected a hnas.Measurement" in plain


def test_a_device_error_is_the_right_error_for_an_unknown_layer(failures):
    class Careful(Board):
        def cost(self, layer: Layer) -> LayerCosts:
            if layer.op == "concat":
                raise DeviceError(f"{layer.key}: unknown")
            return super().cost(layer)

    assert failures(BackendConformance, Careful) == {}
