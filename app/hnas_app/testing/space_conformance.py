"""The tests that every search space has to pass, including those of its super-net."""

from __future__ import annotations

import json
import math

import numpy as np

from hnas.architecture import Architecture
from hnas.errors import ConfigError
from hnas.layer import Layer
from hnas.space import SearchSpace
from hnas.toolkit.codec import from_json, to_json
from hnas.toolkit.dataflow import dataflow
from hnas_app.costs.checked_layers import whole
from hnas_app.search.compared import widths_of
from hnas_app.testing.conformance import expect_sound_schedules
from hnas_app.testing.expectation import ending, expect, sent_to_a_worker
from hnas_app.testing.relaxed_conformance import RelaxedConformance


class SpaceConformance(RelaxedConformance):
    """Tests of a space and of its super-net. Make a narrow one: a few channels are enough, and quick."""

    # ---------------------------------------------------------------- choices and architectures

    def test_choices_are_sound(self) -> None:
        """Names are unique, and a choice depends on an unconditional one only: the core counts networks by that."""
        space = self.make()
        choices = {c.name: c for c in space.choices}
        names = [c.name for c in space.choices]
        expect(len(choices) == len(names) > 0, "choices with names of their own", names, "rename them")
        expect(tuple(space.choices) == tuple(self.make().choices), "the same choices each time", names, "fix them")
        for c in space.choices:
            if c.needs is None:
                continue
            parent = choices.get(c.needs[0])
            expect(parent is not None, f"the choice that {c.name} needs", c.needs[0], f"use one of {names}")
            if parent is not None:
                then = "let it need an unconditional choice; conditions are one level deep"
                expect(parent.needs is None, f"{c.name} to need an unconditional choice", parent, then)
                strange = set(c.needs[1]) - set(parent.options)
                then = f"name options of {parent.name}"
                expect(not strange, f"{c.name} to need options of {parent.name}", sorted(map(str, strange)), then)

    def test_samples_are_members_and_repeat(self) -> None:
        """A search draws them by the thousand, and again by the same seed when it is resumed."""
        space = self.make()
        for arch in self.architectures(space):
            self._expect_member(space, arch, "what `sample`, `smallest` and `largest` return")
        then = "draw all that is random from the generator, in a fixed order"
        same = self.architectures(space) == self.architectures(self.make())
        expect(same, "the same architectures from the same seed", "others", then)

    def test_neighbours_and_mutants_are_members(self) -> None:
        """Repair walks over neighbours, searches over mutants: each differs from its origin."""
        space, generator = self.make(), np.random.default_rng(1)
        then = "yield what differs in one active choice, in its canonical form"
        for arch in self.architectures(space)[:4]:
            near = [*space.neighbours(arch), *(space.mutate(arch, generator) for _ in range(4))]
            for other in near:
                self._expect_member(space, other, "a neighbour or mutant")
                expect(other != arch, "a neighbour or mutant to be another architecture", space.options(other), then)

    def test_architectures_survive_their_written_forms(self) -> None:
        """As JSON in a run's records, and by the names of their options on the command line."""
        space = self.make()
        for arch in self.architectures(space):
            back = from_json(json.loads(json.dumps(to_json(arch))), Architecture, "an architecture")
            expect(back == arch, f"{arch} from its JSON", back, "leave Architecture as it is")
            named = space.architecture(**space.options(arch))
            then = "let `options` and `architecture` agree: neither needs to be overridden"
            expect(named == arch, f"{arch} from its options", named, then)

    def test_references_are_members(self) -> None:
        """The network that limits such as ``latency<=0.6ref`` refer to."""
        space = self.make()
        for name, arch in space.references().items():
            self._expect_member(space, arch, f"the reference network {name!r}")
            options = space.reference_options(name, self.input_shape, self.n_way)
            known = self.options and {a.name for a in getattr(self.options, "__attrs_attrs__", ())}
            strange = set(options) - known if known else set()
            expect(not strange, "reference_options to name options of the space", sorted(strange), "correct them")
        default = space.default_reference(self.input_shape)
        holds = default is None or default in space.references()
        expect(holds, "default_reference to be one of the references", default, "name one of them, or return None")

    def test_width_choices_are_choices_of_numbers(self) -> None:
        """A run scales its reference network by them, to compare with what a user would do by hand."""
        with ending("width_choices to name choices", "name choices whose options are widths, or factors of a width"):
            widths_of(self.make())

    def test_schedules_draw_members(self) -> None:
        """Meta-training draws by one if ``meta_train.sampling`` names it: ``space:NAME``."""
        expect_sound_schedules(self.make())

    # ---------------------------------------------------------------- layers

    def test_layers_lead_from_the_image_to_the_logits(self) -> None:
        """Hardware sees a network that can be run: each layer reads the output of an earlier one."""
        space = self.make()
        for arch in self.architectures(space):
            then = "let sizes follow as in torch; an operation of your own states its counts=(parameters, macs)"
            with ending(f"possible layers of {space.options(arch)}", then):
                layers = self._layers(space, arch)
            text = f"{space.options(arch)}: {[la.key for la in layers]}"
            good = bool(layers) and all(isinstance(la, Layer) for la in layers)
            expect(good, "a list of hnas.Layer", text, "return one for each operation of the forward pass")
            ends = layers[0].in_shape == self.input_shape and math.prod(layers[-1].out_shape) == self.n_way
            expect(ends, f"layers from {self.input_shape} to {self.n_way} logits", text, "check the first and last one")
            with ending("layers that connect", "see hnas.toolkit.dataflow for how branches are read, or state `reads`"):
                dataflow(layers)
                whole(space, layers)

    def test_inactive_choices_change_no_layer(self) -> None:
        """Two descriptions of one network must cost the same, or one of them would be searched in vain."""
        space = self.make()
        for arch in self.architectures(space):
            actives = space.active(arch)
            genes = [g if a else len(c.options) - 1 for g, a, c in zip(arch.genes, actives, space.choices, strict=True)]
            other = Architecture(space.name, tuple(genes))
            then = "use a choice only if its `needs` holds, or correct its `needs`"
            same = self._layers(space, other) == self._layers(space, arch)
            expect(same, f"the layers of {space.options(arch)} whatever the inactive choices", "others", then)
            expect(space.canonical(other) == arch, "one canonical form", space.canonical(other), then)

    def test_distinct_layers_are_all_there_are(self) -> None:
        """A cost table holds these: a network with another layer could not be priced in the middle of a search."""
        space = self.make()
        distinct = space.distinct_layers(self.input_shape, self.n_way)
        expect(
            distinct == sorted(set(distinct)), "distinct layers sorted, each once", "not so", "return sorted(set(…))"
        )
        known = set(distinct)
        for arch in self.architectures(space):
            missing = [la.key for la in self._layers(space, arch) if la not in known]
            then = "override `distinct_layers` if one choice hides whether another matters"
            expect(not missing, f"the layers of {space.options(arch)} among the distinct ones", missing, then)

    def test_impossible_images_are_a_configuration_error(self) -> None:
        """A wrong size raises `ConfigError`, and nothing else."""
        space = self.make()
        for shape, n_way in (((1, 1, 1), 2), ((0, 8, 8), 2), ((1, 8, 8), 0)):
            expected = f"layers or a ConfigError for images of {shape} in {n_way} classes"
            then = "raise hnas.ConfigError if a size is not positive, or the image too small for the network"
            with ending(expected, then, ConfigError) as seen:
                layers = space.layers(space.largest(), shape, n_way)
                if min(*shape, n_way) < 1 or any(min(la.out_shape) < 1 for la in layers):
                    seen.append(f"layers {[la.key for la in layers]}")

    def test_can_be_sent_to_workers(self) -> None:
        """Workers build the super-net themselves, from the space that they are sent."""
        space = self.make()
        received = sent_to_a_worker(space, "space")
        same = tuple(received.choices) == tuple(space.choices) and all(
            self._layers(received, arch) == self._layers(space, arch) for arch in self.architectures(space)
        )
        then = "keep all that decides about layers in attributes that are sent along"
        expect(same, "the same choices and layers in a worker", "others", then)

    # ---------------------------------------------------------------- inside

    def _expect_member(self, space: SearchSpace, arch: Architecture, what: str) -> None:
        __tracebackhide__ = True
        with ending(f"{what} to be a member of the space", "name the space, and a gene for each choice"):
            space.check(arch)
        then = "pass it through `canonical`, which sets inactive genes to 0"
        expect(space.canonical(arch) == arch, f"{what} in its canonical form", arch, then)
