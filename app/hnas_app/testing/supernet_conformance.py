"""The tests that every super-net has to pass: its weights are those that the space's layers count, and they train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.flop_counter import FlopCounterMode

from hnas.architecture import Architecture
from hnas.layer import Layer, Shape
from hnas.space import SearchSpace
from hnas.supernet import NormStats, Params, SuperNet
from hnas_app.testing.conformance import Conformance
from hnas_app.testing.expectation import agree, ending, expect, expect_none, not_applicable, unequal

TASKS, IMAGES = 2, 4
STEP = 1e-8  # of finite differences: so small that no ReLU switches on the way


class SuperNetConformance(Conformance[SearchSpace]):
    """Tests of the super-net that a space makes. Networks run in float64, so that agreement is a matter of rounding."""

    input_shape: Shape = (1, 10, 10)
    """Channels, height and width of the images."""
    n_way: int = 3
    samples: int = 4
    """How many architectures are drawn, besides the smallest and the largest."""
    tolerance: float = 1e-6
    """By what share two ways to compute the same may differ, and absolutely by as much."""

    def architectures(self, space: SearchSpace) -> list[Architecture]:
        """Return the architectures that are tried, the same ones each time."""
        generator = np.random.default_rng(0)
        return [space.smallest(), space.largest(), *(space.sample(generator) for _ in range(self.samples))]

    # ---------------------------------------------------------------- weights

    def test_weights_are_drawn_from_the_generator(self) -> None:
        """Names and order as in ``roles``, float32 on the CPU, and the same from the same seed."""
        supernet = self._supernet()
        drawn, again = (net.init(self._generator(0)) for net in (supernet, self._supernet()))
        then = "draw a tensor for each name of `roles`, in that order, from the generator"
        expect(list(drawn) == list(supernet.roles), f"weights {list(supernet.roles)}", list(drawn), then)
        strange = [k for k, v in drawn.items() if v.dtype != torch.float32 or not v.is_cpu or not v.isfinite().all()]
        expect_none(strange, "finite float32 weights on the CPU", "draw them with dtype=float32")
        expect(not unequal(drawn, again), "the same weights from the same seed", unequal(drawn, again), then)
        other = supernet.init(self._generator(1))
        expect(bool(unequal(drawn, other)), "other weights from another seed", "the same", then)

    def test_a_sub_network_trains_the_weights_of_all(self) -> None:
        """``share`` returns parts of the super-net's tensors, through which a loss reaches them."""
        space, supernet = self.make(), self._supernet()
        for arch in self.architectures(space):
            params = {k: v.requires_grad_() for k, v in self._params(supernet).items()}
            shared = supernet.share(params, arch)
            loss = supernet.forward(shared, self._images(), arch).square().sum()
            then = "take views of `params`, without detach(), clone().data or torch.no_grad()"
            reached = loss.requires_grad and all(v.requires_grad for v in shared.values())
            expect(reached, f"the sub-network {space.options(arch)} to be differentiable", "a constant", then)
            uses = torch.autograd.grad(loss, list(shared.values()), allow_unused=True, retain_graph=True)
            unused = [k for k, g in zip(shared, uses, strict=True) if g is None or not bool(g.ne(0).any())]
            found = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
            trained = [k for k, g in zip(params, found, strict=True) if g is not None and bool(g.ne(0).any())]
            then = "leave out of `share` what the network does not use, and use what is in it"
            expect(not unused, f"a gradient for each weight of {space.options(arch)}", f"none for {unused}", then)
            expect(len(trained) >= len(shared), f"as many trained weights as in {list(shared)}", trained, then)

    def test_sharing_leaves_leading_dimensions_alone(self) -> None:
        """MAML++ keeps a row of each normalisation for every inner step: slicing must count from the last dimension."""
        space, supernet = self.make(), self._supernet()
        rows = [self._params(supernet, seed) for seed in (0, 1)]
        norms = [k for k, role in supernet.roles.items() if role == "norm"]
        if not norms:
            not_applicable("no parameter has the role 'norm'")
        stacked = {**rows[0], **{k: torch.stack([row[k] for row in rows]) for k in norms}}
        for arch in self.architectures(space):
            one, both = supernet.share(rows[0], arch), supernet.share(stacked, arch)
            for name in one:
                expected = one[name]
                if name in norms:
                    expected = torch.stack([supernet.share({**rows[0], name: r[name]}, arch)[name] for r in rows])
                seen = tuple(both[name].shape)
                then = "slice with an ellipsis: value[..., :width]"
                expect(agree(both[name], expected), f"{name} of shape {tuple(expected.shape)}, row by row", seen, then)

    def test_layers_count_the_weights(self) -> None:
        """Limits on ``params`` use the layers' counts; the weights that are trained must be as many.

        A bias before a batch normalisation may be counted without being there: it appears when the two are folded.
        """
        space, supernet = self.make(), self._supernet()
        for arch in self.architectures(space):
            layers = self._layers(space, arch)
            told = sum(layer.params for layer in layers)
            folded = sum(a.out_shape[0] for a, b in pairwise(layers) if a.op == "conv2d" and a.bias and b.op == "norm")
            held = sum(v.numel() for v in supernet.share(self._params(supernet), arch).values())
            then = "compare each layer's shapes, groups and bias with the tensors that `share` returns"
            holds = told - folded <= held <= told
            expect(holds, f"{told} parameters in {space.options(arch)}, {folded} of them folded biases", held, then)

    # ---------------------------------------------------------------- passes

    def test_forward_gives_finite_logits(self) -> None:
        """(N, n_way) numbers, the same from the same weights, other ones for other images."""
        space, supernet = self.make(), self._supernet()
        params = self._params(supernet)
        for arch in self.architectures(space):
            shared, x = supernet.share(params, arch), self._images()
            logits = supernet.forward(shared, x, arch)
            then = "return one row of logits for each image"
            expect(tuple(logits.shape) == (IMAGES, self.n_way), f"logits ({IMAGES}, {self.n_way})", logits.shape, then)
            expect(bool(logits.isfinite().all()), "finite logits", logits, "look for a division by 0 or an overflow")
            again = supernet.forward(shared, x, arch)
            then = "keep nothing random in `forward`; see `with_drop_block` for noise in training"
            expect(agree(logits, again), "the same logits from the same weights", again, then)
            differ = bool((logits - logits[:1]).abs().max() > 0)
            expect(differ, "logits that depend on the image", logits, "let the pass read its input")

    def test_forward_is_twice_differentiable(self) -> None:
        """Second-order MAML differentiates through a gradient step: autograd must agree with finite differences."""
        space, supernet = self.make(), self._supernet()
        x, y = self._images(), self._labels()

        def after_a_step(weights: Params) -> Tensor:
            cross_entropy = torch.nn.functional.cross_entropy
            loss = cross_entropy(supernet.forward(weights, x, arch), y)
            steps = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
            moved = {k: w if g is None else w - 0.1 * g for (k, w), g in zip(weights.items(), steps, strict=True)}
            return cross_entropy(supernet.forward(moved, x.flip(0), arch), y)

        for arch in self.architectures(space)[:2]:
            start = supernet.share(self._params(supernet), arch)
            leaves = {k: v.detach().clone().requires_grad_() for k, v in start.items()}
            way = {k: torch.randn(v.shape, generator=self._generator(3)).double() for k, v in leaves.items()}

            def along(step: float, leaves: Params = leaves, way: Params = way) -> Tensor:
                moved = {k: (v + step * way[k]).detach().requires_grad_() for k, v in leaves.items()}
                return after_a_step(moved).detach()

            then = "use operations that autograd can differentiate twice, and no detach()"
            with ending("a gradient through a gradient step", then):
                found = torch.autograd.grad(after_a_step(leaves), list(leaves.values()), allow_unused=True)
            slope = sum(float((g * way[k]).sum()) for k, g in zip(leaves, found, strict=True) if g is not None)
            expected = float(along(STEP) - along(-STEP)) / (2 * STEP)
            holds = abs(slope - expected) <= 1e-3 * max(1.0, abs(expected))
            expect(holds, f"a slope of {expected:.6g} through a gradient step, by finite differences", slope, then)

    def test_layers_count_the_work(self) -> None:
        """Multiply-accumulates of the layers are those of the convolutions and products that the pass makes."""
        space, supernet = self.make(), self._supernet()
        for arch in self.architectures(space):
            told = sum(layer.macs for layer in self._layers(space, arch))
            # Without data, on torch's device for shapes: an implementation's own kernels are not hidden there.
            shared = {k: v.to("meta") for k, v in supernet.share(self._params(supernet), arch).items()}
            with FlopCounterMode(display=False) as counted:
                try:
                    supernet.forward(shared, self._images().to("meta"), arch)
                except (NotImplementedError, RuntimeError) as cause:
                    not_applicable(f"the pass cannot be traced without data: {cause}")
            seen = counted.get_total_flops() / 2 / IMAGES  # two for each multiply-accumulate
            then = "compare kernel, stride, padding and groups of each layer with the operation that is called"
            expect(seen == told, f"{told} multiply-accumulates an image in {space.options(arch)}", seen, then)
            if supernet.task_batched:
                then = "return the sum over the space's layers"
                expect(supernet.macs(arch) == told, f"SuperNet.macs of {told}", supernet.macs(arch), then)

    def test_tasks_in_a_batch_agree_with_each_alone(self) -> None:
        """``forward_tasks`` may be faster than a loop over ``forward``, but values and gradients must be the same."""
        space, supernet = self.make(), self._supernet()
        for arch in self.architectures(space):
            stacked, x = self._stacked(supernet, arch), self._task_images()
            leaves = {k: v.detach().requires_grad_() for k, v in stacked.items()}
            logits = supernet.forward_tasks(leaves, x, arch)
            batch = torch.autograd.grad(logits.square().sum(), list(leaves.values()), allow_unused=True)
            for t in range(TASKS):
                alone = {k: v[t].detach().requires_grad_() for k, v in stacked.items()}
                one = supernet.forward(alone, x[t], arch)
                then = "let `forward_tasks` agree with `forward` of each task, or leave it out"
                expect(self._agree(logits[t], one), f"the logits of task {t} alone: {one}", logits[t], then)
                single = torch.autograd.grad(one.square().sum(), list(alone.values()), allow_unused=True)
                wrong = [k for k, a, b in zip(alone, batch, single, strict=True) if not self._same_gradient(a, b, t)]
                expect(not wrong, "the gradients of each task alone", f"others for {wrong}", then)

    def test_descent_agrees_with_autograd(self) -> None:
        """``descend`` may be faster than gradient descent by autograd, but must return the same."""
        space, supernet = self.make(), self._supernet()
        if type(supernet).descend is SuperNet.descend:
            not_applicable("the super-net has no descent of its own")
        for arch in self.architectures(space):
            shared = supernet.share(self._params(supernet), arch)
            norms = {k: v for k, v in shared.items() if supernet.roles.get(k) == "norm"}
            weights = {k: v for k, v in shared.items() if k not in norms}
            of_tensors = {k: shared[k].new_tensor([0.1, 0.05]) for k in weights}
            of_elements = {
                k: torch.linspace(0.02, 0.1, 2 * v.numel()).to(v).view(2, *v.shape) for k, v in weights.items()
            }
            x, y = self._task_images(), self._labels().expand(TASKS, -1)
            for kind, rates in (("tensor", of_tensors), ("element", of_elements)):
                then = f"correct `descend` for rates of each {kind}, or call `super().descend` for them"
                with ending(f"gradient descent with a rate for each {kind}", then):
                    own = supernet.descend(weights, [norms] * 2, rates, x, y, arch)
                plain = SuperNet.descend(supernet, weights, [norms] * 2, rates, x, y, arch)
                wrong = unequal(own, plain, self.tolerance, self.tolerance)
                expect_none(wrong, f"the weights of gradient descent with a rate for each {kind}", then)

    def test_features_are_what_the_classifier_reads(self) -> None:
        """Learners that compare features read them; `head` names the classifier that is left out for that."""
        space, supernet = self.make(), self._supernet()
        for arch in self.architectures(space):
            names = supernet.head(arch)
            if names is None:
                not_applicable("the super-net does not name its classifier")
            stacked, x = self._stacked(supernet, arch), self._task_images()
            expect_none(
                [k for k in names if k not in stacked], "`head` to name parameters that `share` returns", "mend `head`"
            )
            weight, bias = (stacked[k] for k in names)
            features = supernet.features(stacked, x, arch)
            then = "let the logits be a linear function of `features` with the weight and bias that `head` names"
            expected = (*x.shape[:2], *weight.shape[2:])
            expect(tuple(features.shape) == expected, f"features of shape {expected}", tuple(features.shape), then)
            by_hand = torch.baddbmm(bias[:, None], features.flatten(2), weight.flatten(2).transpose(1, 2))
            logits = supernet.forward_tasks(stacked, x, arch)
            expect(self._agree(by_hand, logits), "the logits of `forward_tasks`", by_hand, then)

    # ---------------------------------------------------------------- any number of classes

    def test_serves_any_number_of_classes_if_it_says_so(self) -> None:
        """``any_n_way``: no weight depends on ``n_way``; `share` gives each class a copy of the classifier's row."""
        space, trained = self.make(), self._of_any_n_way()
        shapes = {k: tuple(v.shape) for k, v in self._params(trained).items()}
        for n_way in (2, self.n_way + 1):
            supernet = space.supernet(self.input_shape, n_way)
            own = {k: tuple(v.shape) for k, v in self._params(supernet).items()}
            then = "give the classifier that `head` names one row, and copy it in `share`; or leave any_n_way out"
            expect(own == shapes, f"weights {shapes}, as for {self.n_way} classes", own, then)
            for arch in self.architectures(space):
                names = supernet.head(arch) or ()
                shared = supernet.share(self._params(trained), arch)
                rows = {k: len(shared[k]) for k in names if shapes.get(k, ())[:1] == (1,)}
                expect(list(rows.values()) == [n_way] * 2, f"{n_way} copies of one weight and one bias", rows, then)
                logits = tuple(supernet.forward(shared, self._images(), arch).shape)
                expect(logits == (IMAGES, n_way), f"logits {(IMAGES, n_way)}", logits, then)
                uneven = [k for k in names if not agree(shared[k], shared[k][:1].expand_as(shared[k]))]
                expect_none(uneven, "the same row for each class", then)

    def test_the_classifier_s_row_learns_from_all_its_copies(self) -> None:
        """Of `SuperNet.any_n_way`: its gradient is the sum of theirs."""
        space, supernet = self.make(), self._of_any_n_way()
        for arch in self.architectures(space):
            params = {k: v.requires_grad_() for k, v in self._params(supernet).items()}
            shared, names = supernet.share(params, arch), list(supernet.head(arch) or ())
            logits = supernet.forward(shared, self._images(), arch)
            loss = (logits.square() * torch.arange(1, self.n_way + 1)).sum()  # another share of it for each class
            copies = torch.autograd.grad(loss, [shared[k] for k in names], retain_graph=True)
            whole = torch.autograd.grad(loss, [params[k] for k in names])
            placed = supernet.share(params | dict(zip(names, whole, strict=True)), arch)
            wrong = [k for k, g in zip(names, copies, strict=True) if not self._agree(placed[k][0], g.sum(0))]
            expect_none(wrong, "the sum of the gradients of all copies", "copy the row by operations of autograd")

    def test_statistics_are_collected_and_applied(self) -> None:
        """MAML++ keeps running statistics of each normalisation, by the name of its parameters."""
        space, supernet = self.make(), self._supernet()
        for arch in self.architectures(space):
            stacked, x = self._stacked(supernet, arch), self._task_images()
            stats = NormStats("collect")
            logits = supernet.forward_tasks(stacked, x, arch, stats=stats)
            names = {k.rpartition(".")[0] for k in stacked if supernet.roles.get(k) == "norm"}
            seen = sorted(stats.mean), sorted(stats.var)
            then = "write each normalisation's mean and variance into `stats` if it is given, detached"
            expect(set(stats.mean) == set(stats.var) == names, f"statistics of {sorted(names)}", seen, then)
            shapes = {k: tuple(v.shape) for k, v in stats.mean.items()}
            good = all(len(s) == 2 and s[0] == TASKS for s in shapes.values())
            expect(good, f"statistics of ({TASKS} tasks, channels)", shapes, then)
            applied = supernet.forward_tasks(stacked, x, arch, stats=NormStats("apply", stats.mean, stats.var))
            then = "normalise by the given statistics if mode is 'apply', with the biased variance"
            expect(self._agree(applied, logits), "the same logits with the batch's own statistics", applied, then)
            if names:
                moved = NormStats("apply", {k: v + 1 for k, v in stats.mean.items()}, stats.var)
                other = supernet.forward_tasks(stacked, x, arch, stats=moved)
                expect(not self._agree(other, logits), "other logits with other statistics", "the same", then)

    # ---------------------------------------------------------------- inside

    def _of_any_n_way(self) -> SuperNet:
        """Return a super-net that serves any number of classes; without one the test is skipped."""
        supernet = self._supernet()
        if not supernet.any_n_way:
            not_applicable("the super-net has an output for each class")
        return supernet

    def _supernet(self) -> SuperNet:
        return self.make().supernet(self.input_shape, self.n_way)

    def _layers(self, space: SearchSpace, arch: Architecture) -> Sequence[Layer]:
        return space.layers(arch, self.input_shape, self.n_way)

    def _generator(self, seed: int) -> Generator:
        return torch.Generator().manual_seed(seed)

    def _params(self, supernet: SuperNet, seed: int = 0) -> Params:
        """Return weights in float64, a little away from ones and zeros, so that a forgotten one is noticed."""
        generator = self._generator(seed)
        drawn = supernet.init(generator)
        return {k: v.double() + 0.1 * torch.randn(v.shape, generator=generator).double() for k, v in drawn.items()}

    def _stacked(self, supernet: SuperNet, arch: Architecture) -> Params:
        """Return a sub-network's weights for each of some tasks, with a leading task dimension."""
        tasks = [supernet.share(self._params(supernet, seed), arch) for seed in range(TASKS)]
        return {k: torch.stack([task[k] for task in tasks]) for k in tasks[0]}

    def _task_images(self) -> Tensor:
        shape = (TASKS, IMAGES, *self.input_shape)
        return torch.randn(shape, generator=self._generator(7), dtype=torch.float64)

    def _images(self) -> Tensor:
        return self._task_images()[0]

    def _labels(self) -> Tensor:
        return torch.arange(IMAGES) % self.n_way

    def _agree(self, a: Tensor, b: Tensor) -> bool:
        return agree(a, b, self.tolerance, self.tolerance)

    def _same_gradient(self, batch: Tensor | None, alone: Tensor | None, task: int) -> bool:
        if batch is None or alone is None:
            return batch is alone
        scale = max(1.0, float(alone.abs().max()))
        return self._agree(batch[task] / scale, alone / scale) and math.isfinite(scale)
