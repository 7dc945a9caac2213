"""The super-net of `TinySpace`: the plain forward pass, and nothing that makes it fast."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from hnas.architecture import Architecture
from hnas.layer import Shape
from hnas.space import SearchSpace
from hnas.supernet import NormStats, Params, Role, SuperNet
from hnas.toolkit.activations import ACTIVATIONS
from hnas.toolkit.learning import normalise


class TinySuperNet(SuperNet):
    """Share weights by the first channels and the centre of the largest kernel; a classifier for each depth.

    The classifier reads the map without pooling it, so its features are (channels, height × width) of each depth. With
    ``norm`` a batch normalisation follows each convolution. With ``relaxed`` each choice has weights ``<choice>.arch``,
    whose softmax mixes its options in the relaxed network. With ``any_n_way`` a classifier has one row for all classes.
    """

    def __init__(
        self,
        space: SearchSpace,
        input_shape: Shape,
        n_way: int,
        *,
        norm: bool = False,
        relaxed: bool = False,
        any_n_way: bool = False,
        head: bool = True,
    ) -> None:
        self._space, self._has_norm, self._n_way, self.any_n_way = space, norm, n_way, any_n_way
        self._has_head = head
        rows = 1 if any_n_way else n_way
        self.relaxed = Architecture(space.name, ()) if relaxed else None
        options = {c.name: c.options for c in space.choices}
        channels, height, width = input_shape
        self._shapes: dict[str, tuple[int, ...]] = {}
        for i in options["depth"]:
            kernel, widest = max(map(int, options[f"kernel{i}"])), max(map(int, options[f"width{i}"]))
            height, width = -(-height // 2), -(-width // 2)
            self._shapes[f"conv{i}.weight"] = (widest, channels, kernel, kernel)
            own = ("norm{i}.weight", "norm{i}.bias") if norm else ("conv{i}.bias",)
            self._shapes |= {name.format(i=i): (widest,) for name in own}
            self._shapes[f"fc{i}.weight"] = (rows, widest, height * width)
            self._shapes[f"fc{i}.bias"] = (rows,)
            channels = widest
        if relaxed:
            self._shapes |= {f"{c.name}.arch": (len(c.options),) for c in space.choices}

    @property
    def roles(self) -> Mapping[str, Role]:
        return {
            n: "norm" if n.startswith("norm") else "arch" if n.endswith(".arch") else "weight" for n in self._shapes
        }

    def init(self, generator: torch.Generator) -> Params:
        """Draw weights with a variance of 2 over the fan-in (He et al., 2015); gamma 1, beta, biases and the like 0."""
        params = {}
        for name, shape in self._shapes.items():
            if len(shape) == 1:
                params[name] = torch.ones(shape) if name.endswith(".weight") else torch.zeros(shape)
            else:
                scale = (2 / torch.Size(shape[1:]).numel()) ** 0.5
                params[name] = scale * torch.randn(shape, generator=generator)
        return params

    def head(self, arch: Architecture) -> tuple[str, str] | None:
        if arch == self.relaxed or not self._has_head:  # the relaxed one has a classifier of each depth
            return None
        depth = self._space.options(arch)["depth"]
        return f"fc{depth}.weight", f"fc{depth}.bias"

    def decode(self, adapted: Params) -> list[Architecture]:
        genes = torch.stack([adapted[f"{c.name}.arch"].argmax(-1) for c in self._space.choices], 1).tolist()
        return [self._space.canonical(Architecture(self._space.name, tuple(task))) for task in genes]

    def share(self, params: Params, arch: Architecture) -> Params:
        if arch == self.relaxed:
            return self._for_classes(dict(params))
        picked, shared = self._space.options(arch), Params()
        channels, depth = params["conv1.weight"].shape[-3], int(picked["depth"])
        for i in range(1, depth + 1):
            kernel, width = int(picked[f"kernel{i}"]), int(picked[f"width{i}"])
            edge = (params[f"conv{i}.weight"].shape[-1] - kernel) // 2
            centre = slice(edge, edge + kernel)
            shared[f"conv{i}.weight"] = params[f"conv{i}.weight"][..., :width, :channels, centre, centre]
            for name in (f"conv{i}.bias", f"norm{i}.weight", f"norm{i}.bias"):
                if name in params:
                    shared[name] = params[name][..., :width]
            channels = width
        shared[f"fc{depth}.weight"] = params[f"fc{depth}.weight"][..., :channels, :]
        shared[f"fc{depth}.bias"] = params[f"fc{depth}.bias"]
        return self._for_classes(shared)

    def _for_classes(self, shared: Params) -> Params:
        """Copy the row of each classifier for every class, if it has but one."""
        if not self.any_n_way:
            return shared
        dims = {n: -3 if n.endswith(".weight") else -1 for n in shared if n.startswith("fc")}
        return shared | {n: shared[n].repeat_interleave(self._n_way, dim) for n, dim in dims.items()}

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        if arch == self.relaxed:
            return self._mixture(shared, x, stats)
        picked = self._space.options(arch)
        depth = int(picked["depth"])
        for i in range(1, depth + 1):
            weight = shared[f"conv{i}.weight"]
            x = F.conv2d(x, weight, shared.get(f"conv{i}.bias"), stride=2, padding=weight.shape[-1] // 2)
            if self._has_norm:
                x = normalise(x, shared, f"norm{i}", stats)
            x = getattr(F, ACTIVATIONS[str(picked[f"act{i}"])].function)(x)
        return F.linear(x.flatten(1), shared[f"fc{depth}.weight"].flatten(1), shared[f"fc{depth}.bias"])

    def _mixture(self, shared: Params, x: Tensor, stats: NormStats | None) -> Tensor:
        """Return the logits of all options together, each choice mixed by the softmax of its architecture weights."""
        options = {c.name: c.options for c in self._space.choices}
        share = {name: shared[f"{name}.arch"].softmax(-1) for name in options}
        logits = []
        for i in map(int, options["depth"]):
            weight = shared[f"conv{i}.weight"]
            away = (torch.arange(weight.shape[-1]) - weight.shape[-1] // 2).abs()  # from the centre
            off = torch.maximum(away[:, None], away[None])
            kernel = sum(
                s * (off <= int(k) // 2) for s, k in zip(share[f"kernel{i}"], options[f"kernel{i}"], strict=True)
            )
            width = sum(
                s * (torch.arange(len(weight)) < int(w))
                for s, w in zip(share[f"width{i}"], options[f"width{i}"], strict=True)
            )
            x = F.conv2d(x, weight * kernel, shared.get(f"conv{i}.bias"), stride=2, padding=weight.shape[-1] // 2)
            if self._has_norm:
                x = normalise(x, shared, f"norm{i}", stats)
            acts = [getattr(F, ACTIVATIONS[str(a)].function)(x) for a in options[f"act{i}"]]
            x = torch.einsum("a,anchw,c->nchw", share[f"act{i}"], torch.stack(acts), width)
            logits.append(F.linear(x.flatten(1), shared[f"fc{i}.weight"].flatten(1), shared[f"fc{i}.bias"]))
        return torch.einsum("d,dnw->nw", share["depth"], torch.stack(logits))
