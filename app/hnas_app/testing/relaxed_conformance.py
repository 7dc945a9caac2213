"""The tests that the relaxed network of a super-net has to pass, if it has one."""

from __future__ import annotations

import torch

from hnas.architecture import Architecture, Proposal
from hnas.space import SearchSpace
from hnas.supernet import SuperNet
from hnas_app.testing.expectation import ending, expect, expect_none, not_applicable, unequal
from hnas_app.testing.supernet_conformance import IMAGES, TASKS, SuperNetConformance


class RelaxedConformance(SuperNetConformance):
    """Tests of a super-net, and of the network that mixes all its options by architecture weights."""

    def test_architecture_weights_are_those_of_the_relaxed_network(self) -> None:
        """Weights of role ``arch`` are neither counted nor exported, so no architecture of the space may use them."""
        space, supernet = self.make(), self._supernet()
        names = {k for k, role in supernet.roles.items() if role == "arch"}
        if not names and supernet.relaxed is None:
            not_applicable("there is no relaxed network")
        then = "set `relaxed` to an architecture outside the space, for which `share` returns them"
        mixed = [] if supernet.relaxed is None else supernet.share(self._params(supernet), supernet.relaxed)
        expect(bool(names) and names <= set(mixed), f"a relaxed network that has {sorted(names)}", list(mixed), then)
        for arch in self.architectures(space):
            held = sorted(names & set(supernet.share(self._params(supernet), arch)))
            expect_none(held, f"no weights of role 'arch' in {space.options(arch)}", "leave them out of `share`")

    def test_the_relaxed_network_trains_its_architecture_weights(self) -> None:
        """The inner loop adapts them like other weights, in a batch of tasks as for each task alone."""
        supernet, relaxed = self._relaxed()
        stacked, x, y = self._stacked(supernet, relaxed), self._task_images(), self._labels().expand(TASKS, -1)
        leaves = {k: v.requires_grad_() for k, v in stacked.items()}
        logits = supernet.forward_tasks(leaves, x, relaxed)
        then = "let all methods take `relaxed`; the passes return one row of logits for each image"
        holds = tuple(logits.shape) == (TASKS, IMAGES, self.n_way) and bool(logits.isfinite().all())
        expect(holds, f"finite logits {(TASKS, IMAGES, self.n_way)}", logits, then)
        for t in range(TASKS):
            one = supernet.forward({k: v[t] for k, v in stacked.items()}, x[t], relaxed)
            expect(self._agree(logits[t], one), f"the logits of task {t} alone: {one}", logits[t], then)
        with ending("`head` and `fan_ratios` to take `relaxed`, as `macs` does if `task_batched` is set", then):
            supernet.head(relaxed)
            supernet.fan_ratios(relaxed)
            if supernet.task_batched:
                supernet.macs(relaxed)
        found = torch.autograd.grad(logits.square().sum(), list(leaves.values()), allow_unused=True)
        still = [k for k, g in zip(leaves, found, strict=True) if g is None or not bool(g.ne(0).any())]
        expect_none(still, "a gradient for each of its weights", "mix the options by their architecture weights")
        weights = {k: v for k, v in supernet.share(self._params(supernet), relaxed).items()}
        norms = {k: weights.pop(k) for k in list(weights) if supernet.roles.get(k) == "norm"}
        rates = {k: v.new_tensor([0.1]) for k, v in weights.items()}
        own = supernet.descend(weights, [norms], rates, x, y, relaxed)
        wrong = unequal(own, SuperNet.descend(supernet, weights, [norms], rates, x, y, relaxed), *[self.tolerance] * 2)
        expect_none(wrong, "the weights of gradient descent", "let `descend` take `relaxed`, or leave it out")

    def test_options_are_mixed_by_a_softmax(self) -> None:
        """A learner may sample them, or heat their softmax: so what all weights of a choice share changes nothing."""
        supernet, relaxed = self._relaxed()
        shared = supernet.share(self._params(supernet), relaxed)
        raised = {k: v + 3 for k, v in shared.items() if supernet.roles.get(k) == "arch"}
        one, two = (supernet.forward(p, self._task_images()[0], relaxed) for p in (shared, shared | raised))
        then = "weigh options by the softmax of architecture weights over their last dimension"
        expect(self._agree(one, two), f"the same logits with all weights 3 higher: {one}", two, then)

    def test_decoding_gives_an_architecture_for_each_task(self) -> None:
        """Of the space, in its canonical form, by the task's own weights.

        With a `Proposal`, each choice has no weights, or one for each option: then no option's is above the decoded
        one's.
        """
        space = self.make()
        supernet, relaxed = self._relaxed()
        stacked = self._stacked(supernet, relaxed)
        made = list(supernet.decode(stacked))
        found = [one.arch if isinstance(one, Proposal) else one for one in made]
        then = "return an architecture of the space for each task, by the task's own weights"
        with ending(f"{TASKS} architectures of the space", then) as seen:
            for arch in found:
                space.check(arch)
            seen += [] if len(found) == TASKS and found == list(map(space.canonical, found)) else [str(found)]
        alone = [supernet.decode({k: v[t : t + 1] for k, v in stacked.items()})[0] for t in range(TASKS)]
        expect(made == alone, f"the architectures of each task alone, {alone}", made, then)
        for one in made:
            if isinstance(one, Proposal):
                self._expect_weights(space, one)

    # ---------------------------------------------------------------- inside

    def _expect_weights(self, space: SearchSpace, found: Proposal) -> None:
        """Expect weights as a repair for limits uses them: it changes the options that lose the least."""
        sizes = [(0, len(choice.options)) for choice in space.choices]
        shape = [len(of_options) for of_options in found.weights]
        then = "give () for a choice that must stay, and else a weight for each option, the decoded one's the highest"
        fits = len(shape) == len(sizes) and all(n in size for n, size in zip(shape, sizes, strict=True))
        expect(fits, f"weights of {[n for _, n in sizes]} options, or of none", shape, then)
        pairs = zip(space.choices, found.arch.genes, found.weights, strict=True)
        wrong = [choice.name for choice, gene, weights in pairs if weights and max(weights) != weights[gene]]
        expect_none(wrong, "the decoded option to have the highest weight", then)

    def _relaxed(self) -> tuple[SuperNet, Architecture]:
        """Return the super-net and its relaxed network; without one the test is skipped."""
        supernet = self._supernet()
        if supernet.relaxed is None:
            not_applicable("there is no relaxed network")
        return supernet, supernet.relaxed
