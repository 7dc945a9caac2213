"""The tests that the relaxed network of a super-net has to pass, and a learner that proposes architectures by it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hnas.architecture import Architecture, Proposal
from hnas.learner import MetaLearner
from hnas.space import SearchSpace
from hnas.supernet import SuperNet
from hnas_app.testing.expectation import GlobalRandomness, ending, expect, expect_none, not_applicable, unequal
from hnas_app.testing.learner_bed import LearnerBed, split
from hnas_app.testing.supernet_conformance import IMAGES, TASKS, SuperNetConformance
from hnas_app.training.proposing import support_only
from hnas_app.training.setup.returned import proposed


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
        found = _archs(made)
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

    def test_options_are_priced_by_their_layers(self) -> None:
        """For searches with a penalty: in the shapes of architecture weights, in proportion to what layers cost."""
        supernet, _ = self._relaxed()
        if type(supernet).prices is SuperNet.prices:
            not_applicable("the super-net does not price the options of its relaxed network")
        weights = self._params(supernet)
        expected = {k: tuple(weights[k].shape) for k, role in supernet.roles.items() if role == "arch"}
        once, thrice = (supernet.prices(lambda layer, n=n: n * (1.0 + layer.macs)) for n in (1, 3))  # type: ignore[misc]
        then = "return the summed cost of the layers of each option, for every architecture weight"
        shapes = {k: tuple(v.shape) for k, v in once.items()}
        expect(shapes == expected, f"prices of {expected}", shapes, then)
        wrong = unequal({k: 3 * v for k, v in once.items()}, thrice, self.tolerance, self.tolerance)
        expect_none(wrong, "prices in proportion to the cost of layers", then)
        low = [k for k, v in once.items() if not bool((v >= 0).all() and v.isfinite().all() and (v > 0).any())]
        expect_none(low, "finite prices, none below 0 and some above", then)

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


class ProposingConformance(LearnerBed):
    """Tests of what a learner proposes; most propose nothing."""

    def test_proposals_are_one_for_each_task(self) -> None:
        """Architectures of the space, by the support images of each task alone; a learner need not propose any.

        With a `Proposal`, each choice has no weights, or a finite one for each of its options.
        """
        learner, supernet, arch, state = self._begin()
        if not learner.proposes:
            not_applicable("the learner proposes no architectures")
        state, space, episodes = self._trained(learner, supernet, arch, state, 3), self.space(), self._episodes("train")
        support, before, untouched = support_only(episodes), self._copy(state), GlobalRandomness()
        found = learner.propose(space, supernet, state, support)
        with ending(f"an architecture of the space for each of {self.batch} tasks", "return a list with one for each"):
            found = _archs(proposed(learner, found, self.batch, space))
        untouched.expect_untouched("`propose`")
        changed = unequal(state, before)
        expect(not changed, "the state to stay as it was", f"changed: {changed}", "let `update` alone change it")
        others = {
            "again": learner.propose(space, supernet, state, support),
            "for each task alone": [learner.propose(space, supernet, state, e)[0] for e in split(support, 1)],
            "whatever the query images": learner.propose(space, supernet, state, episodes),
        }
        then = "go by the state and the task's support images only; the core gives no query images"
        for how, other in others.items():
            expect(list(map(space.canonical, _archs(other))) == found, f"the same architectures {how}", other, then)

    def test_prefers_cheap_options_if_it_offers_that(self) -> None:
        """`with_prices`: if all options but the first of each choice cost much, a proposal has the first ones."""
        learner, supernet, _, state = self._begin()
        roles = supernet.roles
        shares = {k: torch.zeros_like(state[f"params/{k}"]) for k, role in roles.items() if role == "arch"}
        if supernet.relaxed is None or learner.with_prices(shares) is None:
            not_applicable("the learner, or the space, knows no prices")
        for value in shares.values():
            value[..., 0] = 1.0
        priced = learner.with_prices({k: 1e6 * (1 - v) for k, v in shares.items()})
        assert isinstance(priced, MetaLearner)
        support, then = support_only(self._episodes("train")), "add softmax(architecture weights) × prices to the loss"
        found = _archs(priced.propose(self.space(), supernet, state, support))
        wanted = _archs(supernet.decode({k: 1e6 * v.expand(len(support), *v.shape) for k, v in shares.items()}))
        expect(found == wanted, f"the cheapest options, {wanted}", found, then)
        free = learner.with_prices({k: torch.zeros_like(v) for k, v in shares.items()})
        assert isinstance(free, MetaLearner)
        own = learner.propose(self.space(), supernet, state, support)
        same = free.propose(self.space(), supernet, state, support)
        expect(_archs(own) == _archs(same), "the same proposals if all options are free", same, then)


def _archs(found: Sequence[Architecture | Proposal]) -> list[Architecture]:
    return [one.arch if isinstance(one, Proposal) else one for one in found]
