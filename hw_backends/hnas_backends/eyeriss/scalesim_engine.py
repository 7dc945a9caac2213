"""The adapter to ScaleSim 2.0.2 and 3.0.0: one layer in, cycles out, no file read or written, nothing printed.

Imported only if the simulator is used, since it needs scalesim. Its traps, each handled below:

- 3.0.0 cannot run with numpy 2.4 or newer, since its write buffer returns one array per cycle instead of a number;
  `_WriteBuffer` makes it a number.
- There is no padding: the input gets the size that the output needs, ``(out - 1) * stride + kernel``.
- A layer whose name holds ``DP`` is taken for a depthwise one, so every layer gets the same name.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from typing import Any

from scalesim.memory.write_buffer import write_buffer
from scalesim.scale_config import scale_config
from scalesim.single_layer_sim import single_layer_sim
from scalesim.topology_utils import topologies

from hnas import DeviceError, Layer
from hnas_backends.eyeriss.options import EyerissOptions

try:
    from scalesim.layout_utils import layouts
except ImportError:  # 2.0.2 has no layouts, nor sparsity
    layouts = None

VERSION = version("scalesim")


class _WriteBuffer(write_buffer):  # type: ignore[misc]
    """3.0.0's output buffer with cycles as a flat array: (lines,) instead of (lines, 1) as in the package's own."""

    def service_writes(self, *args: Any, **kwargs: Any) -> Any:
        return super().service_writes(*args, **kwargs).reshape(-1)


def simulate(layer: Layer, options: EyerissOptions) -> int:
    """Run the whole simulator, memory model included, and return its ``Total Cycles``.

    Takes about 2.2 kB of memory and 0.1 ms for each cycle. Raises `DeviceError`.
    """
    with _quietly(layer):
        sim = _simulator(layer, options)
        sim.run()
        sim.get_compute_report_items()  # fills in total_cycles, whose place in the list depends on the version
        return layer.groups * int(sim.total_cycles)


def compute_model_cycles(layer: Layer, options: EyerissOptions) -> int:
    """Return the cycles of ScaleSim's compute model alone: the length of the demand matrices that it builds.

    Independent of the closed form, and hundreds of times faster than `simulate`. Raises `DeviceError`.
    """
    with _quietly(layer):
        sim = _simulator(layer, options)
        operands = sim.op_mat_obj
        sim.compute_system.set_params(
            config_obj=sim.config,
            ifmap_op_mat=operands.get_ifmap_matrix()[1],
            filter_op_mat=operands.get_filter_matrix()[1],
            ofmap_op_mat=operands.get_ofmap_matrix()[1],
        )
        lengths = {len(matrix) for matrix in sim.compute_system.get_demand_matrices()}
        if len(lengths) != 1:
            raise ValueError(f"demand matrices of different lengths: {sorted(lengths)}")
        return layer.groups * (int(lengths.pop()) - 1)  # as Total Cycles: the index of the last cycle


def _simulator(layer: Layer, options: EyerissOptions) -> Any:
    """Return the simulator of one group of a convolution: all of them cost the same, one after another."""
    config = scale_config()
    config.set_arr_dims(options.rows, options.cols)
    config.set_buffer_sizes_kb(options.ifmap_sram_kb, options.filter_sram_kb, options.ofmap_sram_kb)
    config.set_dataflow(options.dataflow)
    config.set_bw_mode_to_calc()
    config.force_valid()

    in_channels, (out_channels, *out) = layer.in_shape[0] // layer.groups, layer.out_shape
    height, width = ((n - 1) * layer.stride + layer.kernel for n in out)
    out_channels //= layer.groups
    row = ["layer", height, width, layer.kernel, layer.kernel, in_channels, out_channels, layer.stride, layer.stride]
    topology = topologies()
    topology.load_layer_params_from_list("layer", row if layouts is None else [*row, 1, 1])  # 1:1, that is dense

    sim = single_layer_sim()
    extra = {}
    if layouts is not None:
        extra["layout_obj"] = layouts()
        sim.memory_system.ofmap_buf = _WriteBuffer()
    sim.set_params(layer_id=0, config_obj=config, topology_obj=topology, verbose=False, **extra)
    return sim


@contextmanager
def _quietly(layer: Layer) -> Iterator[None]:
    """Suppress ScaleSim's output; if it fails or calls ``exit``, raise an error with the layer and the last output."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            yield
    except (Exception, SystemExit) as cause:
        words = f"; it printed {said.getvalue().strip()[-200:]!r}" if said.getvalue().strip() else ""
        raise DeviceError(
            f"ScaleSim {VERSION} failed on {layer.key}: {type(cause).__name__}: {cause}{words}",
            hint="backend.engine=closed-form gives the same cycles without the simulator",
        ) from cause
