"""The interface HardwareBackend: what one layer costs on one device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hnas.cost import DeviceInfo, LayerCosts
from hnas.layer import Layer


class HardwareBackend(ABC):
    """Measures single layers on a device. Table, cache, combining and verification belong to the core.

    Default limits apply to the first metric that `describe` declares.
    """

    @abstractmethod
    def describe(self) -> DeviceInfo:
        """Return the device, its settings and its metrics. Called first; may connect to the device.

        Raises `DeviceError` when the device cannot be used.
        """

    @abstractmethod
    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        """Yield the costs of each layer, in order, as soon as each is known.

        Called with layers that the cost table lacks and that `DeviceInfo.ops` admits. On a device with
        `DeviceInfo.rounds`, called once in every round for each block of layers. Costs are saved as soon as they are
        yielded, so an interrupted profile resumes from there. Raises `UnsteadyError` if the measurements cannot be
        trusted, and `DeviceError` if continuing makes no sense.
        """

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        """Return the cost of the whole network measured end to end, or ``None`` if that is not possible here.

        ``layers`` are those of one network, input side first; `hnas.toolkit.dataflow` returns the inputs of each, in
        residual blocks too. Called to verify a table, in the same rounds as single layers. May raise the same errors as
        `measure`.
        """
        return None

    def check_table(self, table: Mapping[str, LayerCosts], layers: Sequence[Layer]) -> Mapping[str, Any]:
        """Check a finished table by other means; the returned mapping is kept in the table's record.

        ``table`` maps layer keys to costs, ``layers`` are its layers. Raises `DeviceError` when the table is wrong.
        """
        return {}

    def slot(self) -> str:
        """Return the name of the resource that measuring uses; backends of one slot are measured one after the other.

        Called before `describe`. The default is this machine's processor. Models compute there too: beside a
        measurement, their work would be measured as well.
        """
        return "this machine"

    def close(self) -> None:  # noqa: B027 - most backends hold nothing
        """Release the device. Called once, also after an error. What it raises is a note: the costs are kept."""
