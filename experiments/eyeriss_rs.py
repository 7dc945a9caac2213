"""Hold the model `eyeriss-rs` against the chip: AlexNet and VGG-16 as published, layer by layer and in frames a second.

    python experiments/eyeriss_rs.py                                    # prints the comparison
    python experiments/eyeriss_rs.py --output experiments/eyeriss_rs.json

Published: Chen, Krishna, Emer, Sze, "Eyeriss", JSSC 52(1), 2017, tables III (mappings), V (AlexNet, batch 4) and VI
(VGG-16, batch 3), at 200 MHz with a DRAM link of 60 MHz.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, frozen

from hnas import Layer
from hnas_backends.eyeriss import Eyeriss, EyerissOptions
from hnas_backends.eyeriss_rs import EyerissRS, EyerissRSOptions, chip, cost
from hnas_backends.eyeriss_rs.mapping import Mapping, Mappings
from hnas_backends.eyeriss_rs.search import best
from hnas_backends.eyeriss_rs.shape import shape_of

GOALS = ("energy-delay", "energy", "latency")


@frozen
class Published:
    """One row of table V or VI: times of the whole batch in ms, traffic in MB."""

    name: str
    layer: Layer
    total_ms: float
    processing_ms: float
    active_pes: int
    buffer_mb: float
    dram_mb: float
    mapping: Mapping | None = None


def conv(c_in: int, size: int, c_out: int, out: int, kernel: int, stride: int, padding: int, groups: int) -> Layer:
    return Layer(
        op="conv2d",
        in_shape=(c_in, size, size),
        out_shape=(c_out, out, out),
        kernel=kernel,
        stride=stride,
        padding=padding,
        groups=groups,
        bias=True,
    )


def _mapped(m: int, n: int, e: int, p: int, q: int, r: int, t: int) -> Mapping:
    return Mapping(m=m, n=n, e=e, p=p, q=q, r=r, t=t)


_CONV4 = _mapped(64, 4, 13, 16, 3, 2, 2)
ALEXNET = [
    Published("CONV1", conv(3, 227, 96, 55, 11, 4, 0, 1), 20.9, 16.5, 154, 18.5, 5.0, _mapped(96, 1, 7, 16, 1, 1, 2)),
    Published("CONV2", conv(96, 27, 256, 27, 5, 1, 2, 2), 41.9, 39.2, 135, 77.6, 4.0, _mapped(64, 1, 27, 16, 2, 1, 1)),
    Published("CONV3", conv(256, 13, 384, 13, 3, 1, 1, 1), 23.6, 21.8, 156, 50.2, 3.0, _mapped(64, 4, 13, 16, 4, 1, 4)),
    Published("CONV4", conv(384, 13, 384, 13, 3, 1, 1, 2), 18.4, 16.0, 156, 37.4, 2.1, _CONV4),
    Published("CONV5", conv(384, 13, 256, 13, 3, 1, 1, 2), 10.5, 10.0, 156, 24.9, 1.3, _CONV4),
]
"""Batch 4."""


def _vgg(name: str, c_in: int, c_out: int, size: int, *row: Any) -> Published:
    return Published(name, conv(c_in, size, c_out, size, 3, 1, 1, 1), *row)


VGG16 = [
    _vgg("CONV1-1", 3, 64, 224, 76.2, 38.0, 156, 112.6, 15.4),
    _vgg("CONV1-2", 64, 64, 224, 910.3, 810.6, 156, 2402.8, 54.0),
    _vgg("CONV2-1", 64, 128, 112, 470.3, 405.3, 156, 1201.4, 33.4),
    _vgg("CONV2-2", 128, 128, 112, 894.3, 810.8, 156, 2402.8, 48.5),
    _vgg("CONV3-1", 128, 256, 56, 241.1, 204.0, 156, 607.4, 20.2),
    _vgg("CONV3-2", 256, 256, 56, 460.9, 408.1, 156, 1214.8, 32.2),
    _vgg("CONV3-3", 256, 256, 56, 457.7, 408.1, 156, 1214.8, 30.8),
    _vgg("CONV4-1", 256, 512, 28, 135.8, 105.1, 168, 321.8, 17.8),
    _vgg("CONV4-2", 512, 512, 28, 254.8, 210.0, 168, 643.7, 28.6),
    _vgg("CONV4-3", 512, 512, 28, 246.3, 210.0, 168, 643.7, 22.8),
    _vgg("CONV5-1", 512, 512, 14, 54.3, 48.3, 168, 90.0, 6.3),
    _vgg("CONV5-2", 512, 512, 14, 53.7, 48.5, 168, 90.0, 5.7),
    _vgg("CONV5-3", 512, 512, 14, 53.7, 48.5, 168, 90.0, 5.6),
]
"""Batch 3. The mappings are not published."""
NETWORKS = {"AlexNet": (4, ALEXNET), "VGG-16": (3, VGG16)}
LINK_WORDS = chip.LINK_BUS * chip.LINK_MHZ / chip.CLOCK_MHZ


def at(layer: Layer, batch: int, mapping: Mapping) -> dict[str, Any]:
    """Return what the model makes of a mapping, for the whole batch."""
    shape, x = shape_of(layer, batch), Mappings.of([mapping])
    words, per_ms = cost.traffic(shape, x), chip.CLOCK_MHZ * 1e3 / layer.groups
    moved, dram = (chip.WORD_BYTES * layer.groups * int(w[0]) for w in (words.buffer, words.fmaps + words.filters))
    return {
        "mapping": asdict(mapping),
        "active_pes": mapping.r * mapping.t * mapping.e * shape.R,
        "processing_ms": round(float(cost.processing_cycles(shape, x)[0]) / per_ms, 2),
        "total_ms": round(float(cost.total_cycles(shape, x, words, LINK_WORDS)[0]) / per_ms, 2),
        "buffer_mb": round(moved / 1e6, 1),
        "dram_mb": round(dram / 1e6, 1),
        "energy_macs": int(cost.energy(shape, words)[0]) * layer.groups,
    }


def rows_of(batch: int, published: Sequence[Published]) -> list[dict[str, Any]]:
    """Set each published row beside the model: with the mapping it finds, and with the chip's where that is known."""
    rows = []
    for row in published:
        found = best(shape_of(row.layer, batch), "energy-delay", LINK_WORDS).mapping
        told = asdict(row, filter=lambda a, v: a.name not in ("name", "layer", "mapping"))
        ours = {"chip": told, "model": at(row.layer, batch, found)}
        with_theirs = {} if row.mapping is None else {"model_with_published_mapping": at(row.layer, batch, row.mapping)}
        rows.append({"layer": row.name, **ours, **with_theirs})
    return rows


def network_row(name: str, goal: Any) -> dict[str, Any]:
    """Compare frame rates, and times of a batch, for one way to choose mappings."""
    batch, published = NETWORKS[name]
    layers = [row.layer for row in published]
    chip_total, chip_processing = (sum(getattr(r, k) for r in published) for k in ("total_ms", "processing_ms"))
    frame_ms = {}
    for dram in ("exposed", "overlapped"):
        backend = EyerissRS(EyerissRSOptions(batch=batch, minimise=goal, dram=dram))
        frame_ms[dram] = backend.measure_network(layers)["latency"].median
    return {
        "network": name,
        "batch": batch,
        "minimise": goal,
        "chip_frames_per_s": round(1e3 * batch / chip_total, 2),
        "model_frames_per_s": round(1e3 / frame_ms["exposed"], 2),
        "chip_total_ms": round(chip_total, 1),
        "model_total_ms": round(batch * frame_ms["exposed"], 1),
        "total_off_percent": round(100 * (batch * frame_ms["exposed"] / chip_total - 1), 1),
        "chip_processing_ms": round(chip_processing, 1),
        "model_processing_ms": round(batch * frame_ms["overlapped"], 1),
        "processing_off_percent": round(100 * (batch * frame_ms["overlapped"] / chip_processing - 1), 1),
    }


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the rank correlation; equal values share the mean of their ranks."""
    ranks = np.array([[float(np.less(x, v).sum() + np.less_equal(x, v).sum()) for v in x] for x in (a, b)])
    return float(np.corrcoef(ranks)[0, 1])


def rank_row(goal: Any) -> dict[str, Any]:
    """Correlate the ranks of all 18 layers' times of one image with the chip's total latency."""
    theirs, ours, systolic, macs = [], [], [], []
    for batch, published in NETWORKS.values():
        backend = EyerissRS(EyerissRSOptions(batch=batch, minimise=goal))
        layers = [r.layer for r in published]
        ours += [costs["latency"].median for costs in backend.measure(layers)]
        systolic += [costs["latency"].median for costs in Eyeriss(EyerissOptions()).measure(layers)]
        theirs += [r.total_ms / batch for r in published]
        macs += [float(r.layer.macs) for r in published]
    return {
        "minimise": goal,
        "model": round(spearman(ours, theirs), 3),
        "scalesim_preset": round(spearman(systolic, theirs), 3),
        "plain_macs": round(spearman(macs, theirs), 3),
    }


def compare() -> dict[str, Any]:
    """Return the whole comparison as JSON."""
    return {
        "experiment": "eyeriss_rs",
        "source": "Chen et al., JSSC 52(1), 2017, tables III, V and VI",
        "networks": [network_row(name, goal) for name in NETWORKS for goal in GOALS],
        "rank_correlation_18_layers": [rank_row(goal) for goal in GOALS],
        "layers": {name: rows_of(batch, published) for name, (batch, published) in NETWORKS.items()},
        "conv1_2_of_vgg16_with_an_inferred_mapping": at(VGG16[1].layer, 3, _mapped(16, 1, 13, 4, 1, 1, 4)),
    }


def table(content: dict[str, Any]) -> str:
    """Lay the comparison out for reading."""
    lines = []
    for row in content["networks"]:
        lines.append(
            f"{row['network']:8} batch {row['batch']}  minimise {row['minimise']:12}  "
            f"chip {row['chip_frames_per_s']:5.2f} frame/s  model {row['model_frames_per_s']:5.2f}  "
            f"total {row['total_off_percent']:+6.1f} %  processing {row['processing_off_percent']:+6.1f} %"
        )
    lines.append(
        "\nPEs; ms of a batch: processing, total; MB: buffer, DRAM.  chip | model | model with the chip's mapping"
    )
    for name, rows in content["layers"].items():
        for row in rows:
            shown = [row["chip"], row["model"], row.get("model_with_published_mapping")]
            keys = ("active_pes", "processing_ms", "total_ms", "buffer_mb", "dram_mb")
            cells = [" ".join(f"{s[k]:7.1f}" if k != "active_pes" else f"{s[k]:4d}" for k in keys) for s in shown if s]
            lines.append(f"{name:8} {row['layer']:8} " + " | ".join(cells))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Hold the model eyeriss-rs against the published chip.")
    parser.add_argument("--output", type=Path, help="also write the comparison to this JSON file")
    options = parser.parse_args(arguments)
    content = compare()
    print(table(content))
    if options.output:
        options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
