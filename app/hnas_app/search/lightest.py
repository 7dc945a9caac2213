"""The admissible architecture that loses the least of a proposal's weights: hard limits for gradient-based searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hnas.architecture import Architecture, Proposal

Violation = Callable[[Architecture], tuple[float, ...]]
"""The worst cost over its limit, at most 1 if all hold, and then what tells equally bad ones apart."""


def lightest(
    proposal: Proposal, canonical: Callable[[Architecture], Architecture], violation: Violation
) -> Architecture | None:
    """Return the proposal if it keeps all limits, else a near architecture that does; ``None`` if none is found.

    A step changes one choice. If some steps lead to an admissible architecture, the one that loses the least weight is
    taken; else that which saves the most of the violation for the weight that it loses. At last changes are taken back,
    the heaviest first, as far as the limits allow. Nothing is random: among equals, the first choice and its first
    option win.
    """
    weights, start = proposal.weights, proposal.arch
    arch, now = start, violation(start)
    while now[0] > 1:
        steps = [(lost, violation(near), near) for lost, near in _steps(arch, weights, canonical)]
        better = [step for step in steps if step[1] < now]
        if not better:
            return None
        admissible = [step for step in better if step[1][0] <= 1]
        _, now, arch = min(admissible or better, key=_loss if admissible else _price(now))
    changed = [i for i, gene in enumerate(arch.genes) if gene != start.genes[i] and weights[i]]
    for i in sorted(changed, key=lambda i: weights[i][arch.genes[i]] - weights[i][start.genes[i]]):
        back = canonical(_with(arch, i, start.genes[i]))
        arch = back if violation(back)[0] <= 1 else arch
    return arch


Step = tuple[float, tuple[float, ...], Architecture]
"""The weight that a change of one choice loses, the violation that it leaves, and the architecture."""


def _loss(step: Step) -> float:
    return step[0]


def _price(now: tuple[float, ...]) -> Callable[[Step], tuple[float, float]]:
    """Return a key: the weight lost for each unit of violation saved, of the worst limit or else of all together."""

    def key(step: Step) -> tuple[float, float]:
        lost, left, _ = step
        saved = next(before - after for before, after in zip(now, left, strict=True) if before != after)
        return max(lost, 0.0) / saved, -saved

    return key


def _steps(
    arch: Architecture, weights: tuple[tuple[float, ...], ...], canonical: Callable[[Architecture], Architecture]
) -> Iterator[tuple[float, Architecture]]:
    for i, (gene, of_options) in enumerate(zip(arch.genes, weights, strict=True)):
        for option, weight in enumerate(of_options):
            if option != gene:
                yield of_options[gene] - weight, canonical(_with(arch, i, option))


def _with(arch: Architecture, i: int, option: int) -> Architecture:
    return Architecture(arch.space, (*arch.genes[:i], option, *arch.genes[i + 1 :]))
