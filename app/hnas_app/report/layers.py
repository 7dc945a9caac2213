"""The layers of a run's networks with the cost of each, from the run's cost table; no data set is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

from hnas.architecture import Architecture
from hnas.cost import MACS, PARAMS, Cost
from hnas.discovery import Registry
from hnas.errors import DataError, HnasError
from hnas.layer import Layer, Shape
from hnas.learner import MetaLearner
from hnas.space import SearchSpace
from hnas.toolkit.dataflow import connects, dataflow
from hnas.toolkit.operations import OPERATIONS
from hnas_app.costs.limits import REFERENCE, Constraint, Limit, default_constraint, resolve
from hnas_app.report.evidence import Evidence
from hnas_app.training.setup.inference import of_prediction


@frozen(kw_only=True)
class Step:
    """A layer that has weights or joins branches, with the layers behind it that follow it one to one."""

    title: str
    """In a few words: ``conv 3×3, 12``."""
    then: str
    """What follows: ``norm, relu, max_pool 2``."""
    reads: tuple[int, ...]
    """Earlier steps that it reads by their numbers, other than the one before; -1 for the image."""
    out_shape: Shape
    params: int
    macs: int
    cost: Mapping[str, float]
    """By metric of the device: that of the layer and of what follows."""
    key: str


@frozen(kw_only=True)
class Rebuilt:
    """The space of a run, with the shape of its images: what its layers follow from."""

    space: SearchSpace
    input_shape: Shape
    n_way: int
    evidence: Evidence
    learner: MetaLearner | None = None
    """Says how many passes a prediction takes; without one it is a single pass."""

    @classmethod
    def of(cls, evidence: Evidence, registry: Registry) -> Rebuilt:
        """Construct the space of a run. Raises `HnasError` if its layers cannot be known.

        Code of the user's own is not run: a report may be of a run from elsewhere. The shape of the images is the one
        at which the costs on record follow from the table.
        """
        config, table = evidence.config, evidence.table
        if table is None or "space.name" not in config or "task.n_way" not in config:
            raise DataError("the cost table or the settings are not here")
        space, n_way = _made("space", config, registry), int(config["task.n_way"])
        try:
            learner = _made("learner", config, registry)
        except HnasError:  # if its predictions take more than a pass, the costs on record do not follow below
            learner = None
        known = {arch: cost for arch, cost in _known(evidence) if arch.space == space.name}
        if not known:
            raise DataError("no network of the run is known yet")
        for shape in sorted({_in_shape(key) for key in table.rows}, key=lambda s: (-s[1] * s[2], s[0])):
            found = cls(space=space, input_shape=shape, n_way=n_way, evidence=evidence, learner=learner)
            if all(found._costs(arch) == cost for arch, cost in known.items()):
                return found
        plugins = " and ".join(str(config[k]) for k in ("space.name", "learner.name") if k in config)
        raise DataError(f"the costs on record do not follow from the cost table with this version of {plugins}")

    def _costs(self, arch: Architecture) -> Cost | None:
        table, k_shot = self.evidence.table, int(self.evidence.config.get("task.k_shot", 1))
        assert table is not None
        try:
            layers = list(self.space.layers(arch, self.input_shape, self.n_way))
            cost = table.cost(layers)
            if self.learner is None:
                return cost
            return of_prediction(cost, table.metrics, self.learner.inference(layers, self.n_way, k_shot))
        except Exception:  # a plugin's, or an image too small for it: not this shape
            return None

    @property
    def reference(self) -> tuple[str, Architecture, Cost] | None:
        """The network that limits such as ``0.6ref`` are measured by, with its costs, if the space names one."""
        named = [n.strip() for n in str(self.evidence.config.get("retrain.reference", "")).split(",")]
        own = next((n for n in named if n in self.space.references()), self.space.default_reference(self.input_shape))
        if own is None:
            return None
        arch = self.space.references()[own]
        cost = self._costs(arch)
        return (own, arch, cost) if cost else None

    def steps(self, arch: Architecture) -> list[Step]:
        """Return the network as steps from the image to the classes."""
        layers = self.space.layers(arch, self.input_shape, self.n_way)
        groups: list[list[Layer]] = []
        step_of = [-1]  # of the image, then of each layer's output
        for layer in layers:
            if not groups or OPERATIONS.get(layer.op, "weights") in ("weights", "join"):
                groups.append([])
            groups[-1].append(layer)
            step_of.append(len(groups) - 1)
        read: dict[int, tuple[int, ...]] = {}
        for values, step in zip(dataflow(layers) if connects(layers) else (), step_of[1:], strict=False):
            found = {step_of[value] for value in values} - {step - 1, step}
            read[step] = (*read.get(step, ()), *sorted(found))
        return [self._step(group, read.get(number, ())) for number, group in enumerate(groups)]

    def _step(self, group: Sequence[Layer], reads: tuple[int, ...]) -> Step:
        table = self.evidence.table
        assert table is not None
        device = {m.name: table.cost(group)[m.name] for m in table.info.metrics}
        for name, (_, offset) in table.calibration.items():
            device[name] -= offset  # it is one of the whole network
        return Step(
            title=_title(group[0]),
            then=", ".join(_short(layer) for layer in group[1:]),
            reads=reads,
            out_shape=group[-1].out_shape,
            params=sum(layer.params for layer in group),
            macs=sum(layer.macs for layer in group),
            cost=device,
            key=group[0].key,
        )


def limits_of(evidence: Evidence, reference: Cost | None) -> list[Limit]:
    """Return the limits of a run in the units of its metrics, as far as they can be known."""
    if not evidence.metrics:
        return []
    texts = evidence.limits or (default_constraint(evidence.metrics),)
    known = [t for t in texts if reference is not None or not t.endswith(REFERENCE)]
    return list(resolve(Constraint.parse_all(known), evidence.metrics, reference))


def _made(kind: Literal["space", "learner"], config: Mapping[str, Any], registry: Registry) -> Any:
    """Return the plugin of a run. Raises `DataError` for the user's own code, which is not run."""
    name, start = str(config.get(f"{kind}.name", "")), f"{kind}."
    if ":" in name:
        raise DataError(f"the {kind} {name} is no installed plugin, and a report runs no code of a run")
    options = {k.removeprefix(start): v for k, v in config.items() if k.startswith(start) and k != f"{kind}.name"}
    return registry.create(kind, name, options)


def _known(evidence: Evidence) -> list[tuple[Architecture, Cost]]:
    """Return networks of the run with the costs on record."""
    found = [(n.arch, n.cost) for n in evidence.results.networks] if evidence.results else []
    return found + [(s.arch, s.cost) for s in (evidence.adaption.finalists if evidence.adaption else ())]


def _in_shape(key: str) -> Shape:
    """Read the input's shape from a key such as ``conv2d-1x28x28-6x14x14-k3s2p1g1b1``."""
    try:
        channels, height, width = map(int, key.split("-")[1].split("x"))
    except (ValueError, IndexError):
        return (0, 0, 0)
    return channels, height, width


def _title(layer: Layer) -> str:
    if layer.op == "conv2d":
        kind = "depthwise" if layer.groups == layer.in_shape[0] > 1 else "conv"
        stride = f" /{layer.stride}" if layer.stride > 1 else ""
        return f"{kind} {layer.kernel}×{layer.kernel}{stride}"
    return _short(layer)


def _short(layer: Layer) -> str:
    pool = OPERATIONS.get(layer.op) == "pooling" and layer.kernel > 1
    return f"{layer.op} {layer.kernel}" if pool else layer.op


COUNTED = (PARAMS.name, MACS.name)
"""Metrics that follow from a layer's shapes, on any device."""
