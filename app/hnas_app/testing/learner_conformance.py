"""The tests that every meta-learner has to pass."""

from __future__ import annotations

from typing import Literal

import torch
from attrs import evolve
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import cross_entropy

from hnas.errors import ConfigError
from hnas.learner import MetaLearner
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.supernet import NormStats
from hnas.task_source import TaskSource
from hnas_app.testing.conformance import expect_sound_schedules
from hnas_app.testing.expectation import (
    GlobalRandomness,
    agree,
    ending,
    expect,
    expect_none,
    not_applicable,
    sent_to_a_worker,
    unequal,
)
from hnas_app.testing.learner_bed import split
from hnas_app.testing.relaxed_conformance import ProposingConformance
from hnas_app.testing.tiny.space import TinySpace
from hnas_app.testing.tiny.tasks import TinyTasks
from hnas_app.training.setup.returned import inference
from hnas_app.training.setup.subnet import subnet


class LearnerConformance(ProposingConformance):
    """Tests of a meta-learner, on a small space with batch normalisation and on small tasks."""

    def space(self) -> SearchSpace:
        """Return the space whose networks are trained; for a learner that proposes some, one with a relaxed network."""
        return TinySpace(depth=2, widths=(4, 8), norm=True, relaxed=self.make().proposes)

    def tasks(self) -> TaskSource:
        """Return the source of the tasks."""
        return TinyTasks()

    # ---------------------------------------------------------------- state

    def test_state_is_drawn_from_the_generator(self) -> None:
        """``params/<name>`` for each parameter of the super-net, and the same state from the same seed."""
        learner, (supernet, _) = self.make(), self._network()
        untouched = GlobalRandomness()
        state, again = self._state(learner, supernet), self._state(self.make(), supernet)
        untouched.expect_untouched("`init`")
        then = "draw the parameters by `supernet.init(generator)` and keep them under params/"
        expect_none(unequal(state, again), "the same state from the same seed", then)
        drawn = supernet.init(Seeds(0).torch("state"))
        for name, value in drawn.items():
            found = state.get(f"params/{name}")
            shape = None if found is None else tuple(found.shape)
            holds = found is not None and found.shape[found.dim() - value.dim() :] == value.shape
            expect(holds, f"params/{name} of shape (…, {tuple(value.shape)})", shape, then)

    def test_state_survives_its_file(self) -> None:
        """Checkpoints are safetensors: a loaded state must score, and train on, exactly as the saved one."""
        learner, supernet, arch, state = self._begin()
        state = self._trained(learner, supernet, arch, state, 3)
        saved = save({k: v.contiguous().clone() for k, v in state.items()})
        back = {k: load(saved)[k] for k in state}  # a checkpoint keeps the order
        then = "keep all that is learnt in the state, as plain tensors, and nothing in the learner itself"
        one, two = self._score(learner, supernet, state, arch), self._score(self.make(), supernet, back, arch)
        expect(agree(one.loss, two.loss), "the same scores after loading", two.loss, then)
        further = self._trained(learner, supernet, arch, self._copy(state), 2, first=3)
        resumed = self._trained(self.make(), supernet, arch, back, 2, first=3)
        expect_none(unequal(further, resumed), "training to go on as if it had not been stopped", then)

    def test_workers_do_without_the_outer_state(self) -> None:
        """Tensors under ``outer/`` are not sent to workers, which compute gradients and scores."""
        learner, supernet, arch, state = self._begin()
        sent = {k: v for k, v in state.items() if not k.startswith("outer/")}
        then = "put what `gradient`, `score` and `adapt` need under another name than outer/"
        with ending("gradients and scores without outer/", then) as seen:
            found, _ = self._gradient(learner, supernet, sent, arch)
            self._score(learner, supernet, sent, arch)
            learner.adapt(supernet, sent, self._episodes("validation"), arch)
            seen += [k for k in found if k.startswith("outer/")]

    def test_can_be_sent_to_workers(self) -> None:
        """Workers are sent the learner once, with all its settings."""
        learner, supernet, arch, state = self._begin()
        received = sent_to_a_worker(learner, "learner")
        one, two = (self._score(some, supernet, state, arch) for some in (learner, received))
        expect(agree(one.loss, two.loss), "the same scores in a worker", two.loss, "send all settings along")

    # ---------------------------------------------------------------- training

    def test_gradient_is_finite_and_changes_nothing(self) -> None:
        """By names and shapes of the state; not all zero; the same when repeated; with each task's scores."""
        learner, supernet, arch, state = self._begin()
        before, untouched = self._copy(state), GlobalRandomness()
        found, scores = self._gradient(learner, supernet, state, arch)
        again, _ = self._gradient(learner, supernet, state, arch)
        untouched.expect_untouched("`gradient`")
        wild = [k for k, g in found.items() if not bool(g.isfinite().all())]
        expect_none(wild, "a finite gradient", "look for a division by 0 or an overflow")
        strange = [k for k in found if k.startswith("params/") and (k not in state or found[k].shape != state[k].shape)]
        expect_none(strange, "names and shapes of the state", "name what `update` adds up")
        moves = any(bool(g.ne(0).any()) for k, g in found.items() if k.startswith("params/"))
        expect(moves, "a gradient of some parameter", "all zero", "backpropagate the query loss into params/")
        changed = unequal(state, before)
        expect(not changed, "the state to stay as it was", f"changed: {changed}", "let `update` alone change it")
        expect(not unequal(found, again), "the same gradient again", unequal(found, again), "keep no memory")
        self._expect_scores(scores, self.batch)

    def test_gradient_is_a_sum_over_tasks(self) -> None:
        """Workers compute the gradients of parts of a batch, and the core adds them up."""
        learner, supernet, arch, state = self._begin()
        episodes = self._episodes("train")
        whole, scores = self._gradient(learner, supernet, state, arch)
        half = self.batch // 2
        halves = enumerate(split(episodes, half))
        parts = [learner.gradient(supernet, state, e, arch, self._progress(0, e, i * half)) for i, e in halves]
        zero = {k: v.new_zeros(()) for k, v in whole.items()}
        total = {k: sum((part.get(k, zero[k]) for part, _ in parts), zero[k]) for k in whole}
        wrong = unequal(whole, total, self.tolerance, self.tolerance)
        then = "sum over tasks, do not average: `update` gets their number"
        expect_none(wrong, "the gradient of a batch to be the sum of those of its halves", then)
        wrong_scores = not self._agree(scores, [part for _, part in parts])
        expect(not wrong_scores, "each task's scores, in order", scores.loss, "return a score for each task")

    def test_loss_falls(self) -> None:
        """On tasks of classes that were never seen in training: what meta-learning is for."""
        learner, supernet, arch, state = self._begin()
        before = float(self._score(learner, supernet, state, arch, n=self.final_tasks).loss.mean())
        names = set(state)
        state = self._trained(learner, supernet, arch, state, self.iterations)
        after = float(self._score(learner, supernet, state, arch, n=self.final_tasks).loss.mean())
        then = "look at the outer step's sign and rate; set `iterations` in your test if it takes longer"
        holds = after <= self.falls_to * before  # and is no NaN
        expect(holds, f"a loss of {self.falls_to:g} × {before:.3f} after {self.iterations} iterations", after, then)
        changed = sorted(names ^ set(state))
        expect_none(changed, "the state to keep its names", "make them all in `init`")
        wild = [k for k, v in state.items() if not bool(v.isfinite().all())]
        expect_none(wild, "a finite state", then)

    def test_an_architecture_can_be_trained_alone(self) -> None:
        """Re-training makes a network of one architecture, with its own parameters, and trains that."""
        learner, (supernet, arch) = self.make(), self._network()
        alone = subnet(supernet, arch)
        state = self._state(learner, alone)
        before = self._copy(state)
        state = self._trained(learner, alone, arch, state, 1)
        moved = [k for k in unequal(state, before) if k.startswith("params/")]
        then = "go by the names and shapes of the super-net that is given, not by those of the space"
        expect(bool(moved), "its parameters to move", "they stayed", then)

    def test_schedules_draw_members(self) -> None:
        """Meta-training draws by one if ``meta_train.sampling`` names it: ``learner:NAME``."""
        expect_sound_schedules(self.space(), self.make())

    # ---------------------------------------------------------------- scores

    def test_scores_repeat_and_do_not_depend_on_other_tasks(self) -> None:
        """A search scores each candidate on as many tasks at once as it happens to need."""
        learner, supernet, arch, state = self._begin()
        episodes = self._episodes("validation")
        before, untouched = self._copy(state), GlobalRandomness()
        parts: tuple[Literal["query", "support"], ...] = ("query", "support")
        for on in parts if learner.support_scores else parts[:1]:
            together = learner.score(supernet, state, episodes, arch, on=on)
            self._expect_scores(together, len(episodes))
            again = learner.score(supernet, state, episodes, arch, on=on)
            same = agree(together.loss, again.loss) and agree(together.accuracy, again.accuracy)
            expect(same, f"the same scores on {on} images again", again.loss, "keep no memory, and draw nothing")
            single = [learner.score(supernet, state, e, arch, on=on) for e in split(episodes, 1)]
            then = "adapt to each task on its own: no statistics and no weights in common"
            expect(
                self._agree(together, single), f"each task's score alone: {[s.loss for s in single]}", together, then
            )
        untouched.expect_untouched("`score`")
        changed = unequal(state, before)
        expect(not changed, "the state to stay as it was", f"changed: {changed}", "let `update` alone change it")
        at_once = learner.tasks_at_once(supernet, arch, self.spec.n_way * self.spec.k_shot)
        expect(isinstance(at_once, int) and at_once > 0, "tasks_at_once of 1 or more", at_once, "return 1")

    def test_overflowing_losses_are_infinite(self) -> None:
        """A search sorts by the loss, and a NaN has no place in an order."""
        learner, supernet, arch, state = self._begin()
        wild = {k: v * 1e38 if k.startswith("params/") and v.is_floating_point() else v for k, v in state.items()}
        loss = self._score(learner, supernet, wild, arch).loss
        then = "return loss.where(loss.isfinite(), torch.inf)"
        expect(not bool(loss.isnan().any()), "infinity for weights that overflow", loss, then)

    def test_adapted_weights_are_those_of_each_task(self) -> None:
        """With a leading task dimension, as `logits` takes them; a batch as each task alone."""
        learner, supernet, arch, state = self._begin()
        episodes = self._episodes("validation")
        together = learner.adapt(supernet, state, episodes, arch)
        shapes = {k: tuple(v.shape) for k, v in together.items()}
        expected = {
            k: (len(episodes), *v.shape)
            for k, v in supernet.share(supernet.init(Seeds(0).torch("state")), arch).items()
        }
        then = "return every tensor that `share` returns, of each task: those that were not adapted, too"
        expect(expected.items() <= shapes.items(), f"weights {expected}", shapes, then)
        alien = {k: s for k, s in shapes.items() if s[:1] != (len(episodes),)}
        expect(not alien, f"a leading dimension of {len(episodes)} tasks", alien, "repeat what all tasks share")
        for t, one in enumerate(split(episodes, 1)):
            alone = learner.adapt(supernet, state, one, arch)
            wrong = unequal({k: v[t] for k, v in together.items()}, {k: v[0] for k, v in alone.items()}, *self._within)
            then = "adapt to each task on its own: no statistics and no weights in common"
            expect_none(wrong, f"task {t} to be adapted as if it were alone", then)
        logits = learner.logits(supernet, together, episodes.query_x, arch)
        expect(bool(logits.isfinite().all()), "finite logits of the adapted networks", logits, "look at the inner loop")

    def test_scores_are_those_of_the_exported_network(self) -> None:
        """A model is exported as `logits` of what `adapt` returned: it has to be the one that `score` scored."""
        learner, supernet, arch, state = self._begin()
        state, episodes = self._trained(learner, supernet, arch, state, 3), self._episodes("validation")
        scored = learner.score(supernet, state, episodes, arch)
        with torch.no_grad():
            adapted = learner.adapt(supernet, state, episodes, arch)
            logits = learner.logits(supernet, adapted, episodes.query_x, arch)
        y = episodes.query_y
        expected = (len(episodes), y.shape[1], self.spec.n_way)
        then = (
            "override `logits` if the learner does not classify by the network's own classifier, and let `score` use it"
        )
        expect(tuple(logits.shape) == expected, f"logits of shape {expected}", tuple(logits.shape), then)
        loss = cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
        expect(agree(loss, scored.loss, *self._within), f"the losses of `score`, {scored.loss.tolist()}", loss, then)
        accuracy = (logits.argmax(-1) == y).float().mean(1)
        expect(agree(accuracy, scored.accuracy, *self._within), f"its accuracies, {scored.accuracy}", accuracy, then)

    def test_logits_can_be_exported(self) -> None:
        """An exported model is `logits` as `torch.export` traces it, of one task and any number of images.

        A learner whose options cannot be exported raises a `ConfigError` there, which the user reads.
        """
        learner, supernet, arch, state = self._begin()
        task, seen = self._episodes("validation", 1), NormStats("collect")
        images = task.query_x[0]
        with torch.no_grad():
            adapted = learner.adapt(supernet, state, task, arch)
            learner.logits(supernet, adapted, task.support_x, arch, stats=seen)
            fixed = NormStats("apply", seen.mean, seen.var)

            class Model(torch.nn.Module):
                def forward(self, image: Tensor) -> Tensor:
                    return learner.logits(supernet, adapted, image[None], arch, stats=fixed)[0]

            then = "let no value and no number of images decide about the way of `logits`; see docs/plugins/learner.md"
            with ending("`logits` that can be traced for any number of images", then):
                batch = {"image": {0: torch.export.Dim("batch", min=1)}}
                try:
                    traced = torch.export.export(Model(), (images[:2],), dynamic_shapes=batch).module()
                except ConfigError as cause:
                    not_applicable(f"the learner cannot be exported with these options: {cause}")
            for x in (images, images[:1]):
                same = agree(traced(x), Model()(x), *self._within)
                expect(same, f"the traced logits of {len(x)} images to be those of torch", "others", then)
            then = "pass `stats` on, and let nothing depend on the other images: in use, pictures come one at a time"
            same = agree(Model()(images[:1]), Model()(images)[:1], *self._within)
            expect(same, "the logits of an image with fixed statistics to be those that it has alone", "others", then)

    def test_says_what_a_prediction_takes(self) -> None:
        """Costs, limits and results count it: a pass or more, and all that features are compared with."""
        learner, supernet, arch, state = self._begin()
        n_way, k_shot, layers = self.spec.n_way, self.spec.k_shot, self._layers(arch)
        then = "return an Inference of at least one pass, from the layers, the classes and the shots alone"
        with ending("what a prediction takes", then):
            found = inference(learner, layers, n_way, k_shot)
            again = inference(self.make(), list(layers), n_way, k_shot)
        expect(found == again, f"{found} of a new learner", again, then)
        if learner.needs_features:
            adapted = learner.adapt(supernet, state, self._episodes("validation", 1), arch)
            own = {k.partition("/")[2] for k in state if k.startswith("params/")}
            kept = sum(v.nbytes for k, v in adapted.items() if k not in own)
            then = "count what `adapt` returns beside the network's weights in the `stored` of `inference`"
            expect(found.stored >= kept, f"{kept} bytes stored of the task", found.stored, then)

    def test_adapts_by_other_numbers_of_steps_if_it_offers_them(self) -> None:
        """`with_steps`: fewer and more, for the same state; the learner itself stays as it is."""
        learner, supernet, arch, state = self._begin()
        if learner.with_steps(1) is None:
            not_applicable("the learner has no adaption steps")
        episodes, before = self._episodes("validation"), self._copy(state)
        own, losses = learner.score(supernet, state, episodes, arch).loss, []
        for steps in (1, 12):
            other = learner.with_steps(steps)
            assert isinstance(other, MetaLearner)
            scores = other.score(supernet, state, episodes, arch)
            self._expect_scores(scores, len(episodes))
            losses.append(scores.loss)
        then = "return a new learner that takes as many steps"
        expect(not agree(losses[0], losses[1]), "other scores by 12 steps than by 1", losses, then)
        again = learner.score(supernet, state, episodes, arch).loss
        expect(agree(own, again), f"the learner's own scores to stay {own}", again, then)
        changed = unequal(state, before)
        expect(not changed, "the state to stay as it was", f"changed: {changed}", "let `update` alone change it")

    # ---------------------------------------------------------------- what it declares

    def test_serves_any_number_of_classes_if_it_says_so(self) -> None:
        """``any_n_way``: training tasks may have more classes than test tasks, and weights serve any number."""
        learner, supernet, arch, state = self._begin()
        if not learner.any_n_way:
            not_applicable("the learner classifies by the super-net's outputs")
        then = "take the number of classes from the tasks, or leave any_n_way out"
        for n_way in (2, self.spec.n_way + 1):
            self._expect_service(learner, supernet, state, arch, n_way, then)

    def test_serves_any_number_of_classes_if_the_super_net_does(self) -> None:
        """`SuperNet.any_n_way`: what is learnt serves tasks of other numbers, by a super-net that is made for these."""
        learner, space, shape = self.make(), self.space(), self.tasks().image_shape
        if learner.any_n_way:
            not_applicable("the learner does so by itself")
        if not space.supernet(shape, self.spec.n_way).any_n_way:
            space = TinySpace(depth=2, widths=(4, 8), norm=True, relaxed=learner.proposes, any_n_way=True)
        try:
            state = self._state(learner, space.supernet(shape, self.spec.n_way))
        except ConfigError as cause:
            not_applicable(f"the learner refuses such a space: {cause}")
        then = "go by the shapes of `supernet.init` for what is learnt, and by those of `share` for what is adapted"
        for n_way in (2, self.spec.n_way + 1):
            supernet = space.supernet(shape, n_way)
            fresh = self._state(learner, supernet)
            wrong = [k for k, v in state.items() if k not in fresh or fresh[k].shape != v.shape]
            expect_none(wrong, f"a state of the same shapes for {self.spec.n_way} and {n_way} classes", then)
            self._expect_service(learner, supernet, state, space.largest(), n_way, then)

    def test_goes_by_features_only_if_it_says_so(self) -> None:
        """``needs_features``: a space whose super-net does not name its classifier is refused to such learners."""
        learner = self.make()
        if learner.needs_features:
            not_applicable("the learner needs the features before a classifier")
        space = TinySpace(depth=2, widths=(4, 8), norm=True, relaxed=learner.proposes, head=False)
        supernet, episodes = space.supernet(self.tasks().image_shape, self.spec.n_way), self._episodes("train")
        then = "declare needs_features, or do without `features` and `head`"
        with ending("training and scores on a super-net that names no classifier", then):
            try:
                state = self._state(learner, supernet)
            except ConfigError as cause:
                not_applicable(f"the learner refuses such a space: {cause}")
            learner.gradient(supernet, state, episodes, space.largest(), self._progress(0, episodes))
            learner.score(supernet, state, episodes, space.largest())

    def test_goes_by_the_ids_of_classes_only_if_it_says_so(self) -> None:
        """Not every task source gives `Episodes.classes`; one without is refused to learners of ``needs_classes``."""
        learner, supernet, arch, state = self._begin()
        episodes = self._episodes("train")
        bare, progress = evolve(episodes, classes=None), self._progress(0, episodes)
        then = "declare needs_classes if `gradient` needs them, and let all else do without"
        with ending("the same without the ids of classes", then) as seen:
            one, two = (learner.score(supernet, state, e, arch) for e in (episodes, bare))
            seen += [] if agree(one.loss, two.loss) else ["other scores"]
            seen += unequal(learner.adapt(supernet, state, episodes, arch), learner.adapt(supernet, state, bare, arch))
            if not learner.needs_classes:
                with_ids, without = (
                    learner.gradient(supernet, self._copy(state), e, arch, progress)[0] for e in (episodes, bare)
                )
                seen += unequal(with_ids, without)
