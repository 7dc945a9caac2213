"""The interface HardwareBackend: what one layer costs on one device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hnas.cost import DeviceInfo, LayerCosts
from hnas.layer import Layer


class HardwareBackend(ABC):
    """Measures single layers on a device. Table, cache, combining and verification belong to the core.

    The first metric that `describe` declares is the one that default limits apply to.
    """

    @abstractmethod
    def describe(self) -> DeviceInfo:
        """Return the device, its settings and its metrics. Called first; may connect to the device.

        Raises `DeviceError` when the device cannot be used.
        """

    @abstractmethod
    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        """Yield the costs of each layer, in order, as soon as each is known.

        Called with layers that the cost table lacks and that `DeviceInfo.ops` admits; on a device with
        `DeviceInfo.rounds` several times, for a block of layers each, once in every round. What was yielded is saved at
        once, so an interrupted profile goes on from there. Raises `UnsteadyError` where what was measured cannot be
        trusted, and `DeviceError` where going on makes no sense.
        """

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        """Return the cost of the whole network measured end to end, or ``None`` where that is not possible here.

        ``layers`` are those of one network, input side first; `hnas.toolkit.dataflow` tells what each reads, in
        residual blocks too. Called to verify a table, in the same rounds as single layers. May raise what `measure`
        may.
        """
        return None

    def check_table(self, table: Mapping[str, LayerCosts], layers: Sequence[Layer]) -> Mapping[str, Any]:
        """Check a finished table by other means; what is returned stands in the table's record.

        ``table`` maps layer keys to costs, ``layers`` are its layers. Raises `DeviceError` when the table is wrong.
        """
        return {}

    def slot(self) -> str:
        """Name what measuring keeps busy: of several backends, those of one slot are measured one after the other.

        Called before `describe`. Unless said otherwise it is this machine's processor. A model computes there, too, and
        beside a measurement it would be measured as well.
        """
        return "this machine"

    def close(self) -> None:  # noqa: B027 - most backends hold nothing
        """Give the device back. Called once, also after an error."""
