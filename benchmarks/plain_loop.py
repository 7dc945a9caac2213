"""What the engine is compared with: MAML++ as it is usually written, one task after the other, in plain torch.

`loop` is variant (a): a functional network (NCHW), ``autograd.grad`` with ``create_graph``, and a backward pass for
each task. It shares no code with the project's learner, super-net or engine; `Start` copies the weights out of a state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from attrs import define
from configs import INNER_STEPS, Config
from torch import Tensor

from hnas import Architecture, Episodes
from hnas.learner import State
from hnas_plugins.spaces.blocks.conv_layers import ConvBlock

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "elu": F.elu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "relu6": F.relu6,
    "leakyrelu": F.leaky_relu,
}


@define(kw_only=True)
class Start:
    """What the inner loop starts from: leaves of one sub-network, in layer order.

    ``weights`` holds the convolutions, then weight and bias of the classifier; ``rates`` a row of (steps,) for each.
    """

    blocks: Sequence[ConvBlock]
    stride: int
    max_pool: bool
    pool: int
    names: list[str]
    weights: list[Tensor]
    gammas: list[Tensor]  # (steps, C) each
    betas: list[Tensor]
    rates: list[Tensor]

    @property
    def leaves(self) -> dict[str, Tensor]:
        """Return every leaf by its name in the state."""
        found = {f"params/{n}": w for n, w in zip(self.names, self.weights, strict=True)}
        found |= {f"lslr/{n}": r for n, r in zip(self.names, self.rates, strict=True)}
        for i, (gamma, beta) in enumerate(zip(self.gammas, self.betas, strict=True), 1):
            found |= {f"params/norm{i}.weight": gamma, f"params/norm{i}.bias": beta}
        return found

    @classmethod
    def of(cls, config: Config, state: State, arch: Architecture) -> Start:
        """Cut the weights of ``arch`` out of a super-net's state: first channels, centre of the kernel."""

        def leaf(x: Tensor) -> Tensor:
            return x.detach().clone(memory_format=torch.contiguous_format).requires_grad_()

        blocks = config.space.blocks(arch)
        weights, gammas, betas = [], [], []
        channels = config.image[0]
        for i, block in enumerate(blocks, 1):
            full = state[f"params/conv{i}.weight"]
            edge = (full.shape[-1] - block.kernel) // 2
            crop = slice(edge, edge + block.kernel)
            weights.append(leaf(full[: block.width, :channels, crop, crop]))
            for rows, part in ((gammas, "weight"), (betas, "bias")):
                norm = state[f"params/norm{i}.{part}"]
                if norm.dim() == 3:  # (steps, activations, C): norms=activation
                    norm = norm[:, list(ACTIVATIONS).index(block.activation)]
                rows.append(leaf(norm[:, : block.width]))
            channels = block.width
        weights += [leaf(state["params/fc.weight"][:, :channels]), leaf(state["params/fc.bias"])]
        names = [f"conv{i}.weight" for i in range(1, len(blocks) + 1)] + ["fc.weight", "fc.bias"]
        return cls(
            blocks=blocks,
            stride=2 if config.downsample == "stride" else 1,
            max_pool=config.downsample == "pool",
            pool=config.pool,
            names=names,
            weights=weights,
            gammas=gammas,
            betas=betas,
            rates=[leaf(state[f"lslr/{n}"]) for n in names],
        )


def network(start: Start, weights: Sequence[Tensor], step: int, x: Tensor) -> Tensor:
    """Return logits (N, n_way) of images (N, C, H, W), normalised with the parameters of an inner step."""
    return F.linear(features(start, weights, step, x), weights[-2].flatten(1), weights[-1])


def features(start: Start, weights: Sequence[Tensor], step: int, x: Tensor) -> Tensor:
    """Return the classifier's input (N, F)."""
    for i, block in enumerate(start.blocks):
        x = F.conv2d(x, weights[i], stride=start.stride, padding=block.kernel // 2)
        x = F.batch_norm(x, None, None, start.gammas[i][step], start.betas[i][step], training=True, eps=1e-5)
        x = ACTIVATIONS[block.activation](x)
        if start.max_pool:
            x = F.max_pool2d(x, 2, ceil_mode=True)
    return (x.mean((2, 3)) if start.pool == 1 else F.adaptive_avg_pool2d(x, start.pool)).flatten(1)


def loop(start: Start, episodes: Episodes, *, second_order: bool = True, multi_step_loss: bool = False) -> float:
    """Add the meta-gradient, summed over tasks, to the leaves' ``grad``; return the mean query loss."""
    total = 0.0
    for x, y, query_x, query_y in tasks(episodes):
        weights, losses = start.weights, []
        for step in range(INNER_STEPS):
            loss = F.cross_entropy(network(start, weights, step, x), y)
            gradients = torch.autograd.grad(loss, weights, create_graph=second_order)
            weights = [w - r[step] * g for w, r, g in zip(weights, start.rates, gradients, strict=True)]
            if multi_step_loss or step == INNER_STEPS - 1:
                losses.append(F.cross_entropy(network(start, weights, step, query_x), query_y))
        query_loss = torch.stack(losses).mean()
        query_loss.backward()  # type: ignore[no-untyped-call]
        total += query_loss.item()
    return total / len(episodes)


def adapt(start: Start, episodes: Episodes) -> list[float]:
    """Return each task's query loss after the inner loop: what adaption asks for, the plain way."""
    losses = []
    for x, y, query_x, query_y in tasks(episodes):
        weights = start.weights
        for step in range(INNER_STEPS):
            weights = [w.detach().requires_grad_() for w in weights]
            loss = F.cross_entropy(network(start, weights, step, x), y)
            gradients = torch.autograd.grad(loss, weights)
            weights = [w - r[step] * g for w, r, g in zip(weights, start.rates, gradients, strict=True)]
        with torch.no_grad():
            losses.append(F.cross_entropy(network(start, weights, INNER_STEPS - 1, query_x), query_y).item())
    return losses


def tasks(episodes: Episodes) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return support and query images and labels of each task."""
    e = episodes
    return list(zip(e.support_x, e.support_y, e.query_x, e.query_y, strict=True))
