"""The suite catches a broken space or super-net, whatever is broken: the test that is meant for it fails, alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from attrs import evolve
from torch.nn import functional as F

from hnas import Architecture, Choice, ConfigError, Layer, Proposal
from hnas.supernet import Params
from hnas.testing import SpaceConformance, TinySpace
from hnas_app.testing.tiny.supernet import TinySuperNet

HERE = torch.Generator().manual_seed(0)


class Net(TinySuperNet):
    """Nothing is wrong with it."""


class Space(TinySpace):
    """Makes a super-net of the class that it names. Nothing else is wrong with it."""

    net: type[TinySuperNet] = Net

    def __init__(self, relaxed: bool = False, any_n_way: bool = False) -> None:
        super().__init__(depth=2, widths=(2, 4), norm=True, relaxed=relaxed, any_n_way=any_n_way)

    def supernet(self, input_shape: Any, n_way: int) -> TinySuperNet:
        options = {"norm": self.norm, "relaxed": self.relaxed, "any_n_way": self.any_n_way}
        return self.net(self, input_shape, n_way, **options)


# ---------------------------------------------------------------- spaces


class NeedsAConditional(Space):
    """A choice needs one that itself depends on the depth. It is of one option, so that it changes nothing else."""

    def __init__(self) -> None:
        super().__init__()
        needs = ("kernel1", (1, 3, 5))
        self._choices = (*self._choices, Choice(name="gate", options=("on",), needs=needs))


class ForgetsAName(Space):
    """Two choices of one name, of which the second has a single option."""

    def __init__(self) -> None:
        super().__init__()
        self._choices = (Choice(name="pad", options=("zero",)), *self._choices, Choice(name="pad", options=("zero",)))


class DrawsByItself(Space):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        DrawsByItself.made += 1
        self.own = DrawsByItself.made

    def sample(self, generator: Any) -> Architecture:
        for _ in range(self.own):
            drawn = super().sample(generator)
        return drawn


class IsItsOwnNeighbour(Space):
    def neighbours(self, arch: Architecture) -> Any:
        yield from super().neighbours(arch)
        yield arch


class RawMutants(Space):
    """A mutant keeps the genes of layers that it has lost."""

    def mutate(self, arch: Architecture, generator: Any, count: int = 2) -> Architecture:
        return Architecture(self.name, (0, *(1 for _ in arch.genes[1:])))


class RoundsItsOptions(Space):
    def options(self, arch: Architecture) -> dict[str, Any]:
        return {k: 4 if k == "width1" else v for k, v in super().options(arch).items()}

    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        return GOOD.layers(arch, input_shape, n_way)

    def supernet(self, input_shape: Any, n_way: int) -> TinySuperNet:
        return GOOD.supernet(input_shape, n_way)


class ForeignReference(Space):
    def references(self) -> Mapping[str, Architecture]:
        return {"other": Architecture("another-space", (0,))}


class ScalesActivations(Space):
    def width_choices(self) -> Sequence[str]:
        return ["act1"]


class ScalesUnknownLayers(Space):
    def width_choices(self) -> Sequence[str]:
        return ["width99"]


class ScalesByText(Space):
    def width_choices(self) -> Sequence[str]:
        return "width1"


class StopsBeforeTheLogits(Space):
    """The classifier is followed by a layer that takes what nothing gives."""

    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        layers = list(super().layers(arch, input_shape, n_way))
        stray = Layer(op="avg_pool", in_shape=(n_way, 9, 9), out_shape=(n_way, 1, 1))
        return [*layers, stray]


class AddsNothing(Space):
    """The last activation is added to nothing: its other term, an input of the same shape, cannot be guessed."""

    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        *layers, last = super().layers(arch, input_shape, n_way)
        shape = layers[-1].out_shape
        return [*layers, Layer(op="add", in_shape=shape, out_shape=shape), last]


class ReadsTooFarBack(Space):
    """The classifier reads what is before the network's input."""

    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        *layers, last = super().layers(arch, input_shape, n_way)
        return [*layers, evolve(last, reads=(len(layers) + 2,))]


class ForgetsThePadding(Space):
    """A kernel of 3 without padding, and the output of one with it."""

    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        first, *rest = super().layers(arch, input_shape, n_way)
        return [evolve(first, kernel=3, padding=0), *rest]


class InventsAnOperation(Space):
    """Nobody knows what it costs, nor how many parameters it has."""

    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        return [evolve(la, op="dil_conv2d") for la in super().layers(arch, input_shape, n_way)]


class ReadsInactiveGenes(Space):
    """In a network of one layer the second one's kernel still decides about the first one's bias."""

    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        first, *rest = super().layers(arch, input_shape, n_way)
        odd = arch.genes[0] == 0 and arch.genes[4] != 0
        return [evolve(first, bias=True) if odd else first, *rest]


class ForgetsALayer(Space):
    def distinct_layers(self, input_shape: Any, n_way: int) -> list[Layer]:
        return [la for la in super().distinct_layers(input_shape, n_way) if la.op != "norm"]


class DividesByZero(Space):
    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        try:
            return super().layers(arch, input_shape, n_way)
        except ConfigError as cause:
            raise ZeroDivisionError("0 channels") from cause


class HoldsALambda(Space):
    def __init__(self) -> None:
        super().__init__()
        self.key = lambda arch: arch.genes


class SchedulesByMemory(Space):
    """The second architecture is trained after the first was trained often enough; a resumed training would differ."""

    drawn = 0

    def schedules(self) -> Mapping[str, Any]:
        return {"stages": self.stages}

    def stages(self, generator: Any, iteration: int, total: int, count: int) -> list[Architecture]:
        self.drawn += 1
        return [self.largest() if self.drawn < 20 else self.smallest()]


# ---------------------------------------------------------------- super-nets


class DrawsGlobally(Net):
    def init(self, generator: torch.Generator) -> Params:
        drawn = super().init(generator)
        return {k: v + 0.1 * torch.randn(v.shape, generator=HERE) for k, v in drawn.items()}


class Detaches(Net):
    def share(self, params: Params, arch: Architecture) -> Params:
        return {k: v.detach() if k == "conv1.weight" else v for k, v in super().share(params, arch).items()}


class SharesTooMuch(Net):
    """A weight is handed out that no network uses; it is empty, so that nothing is counted wrongly."""

    def share(self, params: Params, arch: Architecture) -> Params:
        return super().share(params, arch) | {"spare.weight": params["conv1.weight"][..., :0, :, :, :]}


class SlicesFromTheLeft(Net):
    def share(self, params: Params, arch: Architecture) -> Params:
        shared = super().share(params, arch)
        widths = {k: shared[k].shape[-1] for k in shared if k.startswith("norm")}
        return shared | {k: params[k][:width] for k, width in widths.items()}


class CountsNoNorm(Space):
    """The layers leave the normalisations' parameters out."""

    def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> Sequence[Layer]:
        layers = super().layers(arch, input_shape, n_way)
        return [evolve(la, op="scale", counts=(0, 0)) if la.op == "norm" else la for la in layers]


class CountsLessWork(Space):
    """A stride of 1 is told as one of 2, so the layers' output is a quarter: parameters are right, work is not."""

    class net(Net):
        def forward(self, shared: Params, x: Any, arch: Architecture, *, stats: Any = None) -> Any:
            wide = F.conv2d(x, shared["conv1.weight"], padding=shared["conv1.weight"].shape[-1] // 2)
            return super().forward(shared, x, arch, stats=stats) + 0 * wide.sum()


class Noisy(Net):
    def forward(self, shared: Params, x: Any, arch: Architecture, *, stats: Any = None) -> Any:
        logits = super().forward(shared, x, arch, stats=stats)
        return logits if x.device.type == "meta" or stats is not None else logits * _noise(logits)


class OnlyOnceDifferentiable(Net):
    def forward(self, shared: Params, x: Any, arch: Architecture, *, stats: Any = None) -> Any:
        return _Once.apply(super().forward(shared, x, arch, stats=stats))


class OffByATask(Net):
    """A batch of tasks in which every task gets the first one's classifier."""

    def forward_tasks(self, shared: Params, x: Any, arch: Architecture, *, stats: Any = None) -> Any:
        first = {k: v[:1].expand_as(v) if k.startswith("fc") else v for k, v in shared.items()}
        return super().forward_tasks(first, x, arch, stats=stats)


class DescendsTooFar(Net):
    def descend(self, weights: Params, norms: Any, rates: Any, *args: Any, **kwargs: Any) -> Params:
        return super().descend(weights, norms, {k: 1.1 * v for k, v in rates.items()}, *args, **kwargs)


class ForgetsStatistics(Net):
    """Given statistics are not applied."""

    def forward(self, shared: Params, x: Any, arch: Architecture, *, stats: Any = None) -> Any:
        given = None if stats is not None and stats.mode == "apply" else stats
        return super().forward(shared, x, arch, stats=given)


class _Once(torch.autograd.Function):
    """The identity, whose gradient is computed where autograd does not look."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient.detach().clone()


_calls = [0]


def _noise(logits: Any) -> float:
    """Return another factor at every second pass of the same shape."""
    _calls[0] += 1
    return 1.0 + 0.01 * (_calls[0] % 2)


class FeaturesOfAnotherScale(Net):
    """The features are twice those that the classifier reads."""

    def features(self, *given: Any, **stats: Any) -> Any:
        return 2 * super().features(*given, **stats)


class ExportsArchitectureWeights(Net):
    """An architecture of the space has some, too; they are empty, so that nothing is counted wrongly."""

    def share(self, params: Params, arch: Architecture) -> Params:
        return super().share(params, arch) | ({} if arch == self.relaxed else {"depth.arch": params["depth.arch"][:0]})


class MixesEvenly(Net):
    """The options of a choice are not weighed by what is learnt."""

    def forward(self, shared: Params, x: Any, arch: Architecture, *, stats: Any = None) -> Any:
        fixed = {k: v.detach() for k, v in shared.items() if k == "act1.arch"}
        return super().forward(shared | fixed, x, arch, stats=stats)


class KnowsNoClassifierOfTheMixture(Net):
    def head(self, arch: Architecture) -> Any:
        return f"fc{self._space.options(arch)['depth']}.weight", f"fc{self._space.options(arch)['depth']}.bias"


class MixesByLogistics(Net):
    """Each option is weighed by itself, rather than beside the others."""

    def forward(self, shared: Params, x: Any, arch: Architecture, *, stats: Any = None) -> Any:
        alone = {k: v.sigmoid().log() for k, v in shared.items() if k.endswith(".arch")}
        return super().forward(shared | alone, x, arch, stats=stats)


class PrefersWhatItLeaves(Net):
    """It gives its weights the wrong way round: a limit would be kept by the option that suits the task least."""

    def decode(self, adapted: Params) -> list[Any]:
        weights = [-adapted[f"{c.name}.arch"].softmax(-1) for c in self._space.choices]
        found = enumerate(super().decode(adapted))
        return [Proposal(arch=a, weights=tuple(tuple(w[t].tolist()) for w in weights)) for t, a in found]


class ForgetsAPrice(Net):
    def prices(self, cost: Any) -> Params:
        layer = Layer(op="relu", in_shape=(1, 1, 1), out_shape=(1, 1, 1))
        found = {f"{c.name}.arch": torch.full((len(c.options),), cost(layer)) for c in self._space.choices}
        return {k: v for k, v in found.items() if k != "act1.arch"}


class DecodesTheFirst(Net):
    def decode(self, adapted: Params) -> list[Architecture]:
        return super().decode(adapted)[:1] * len(adapted["depth.arch"])


class KeepsARowForEachClass(Net):
    """It says that it serves any number of classes, and has weights for those that it was made for."""

    def __init__(self, *given: Any, any_n_way: bool, **options: Any) -> None:
        super().__init__(*given, **options)
        self.any_n_way = any_n_way

    def _for_classes(self, shared: Params) -> Params:
        return shared


class CopiesUnevenly(Net):
    """The last class starts elsewhere, by what adds up to nothing in the gradient of the row."""

    def share(self, params: Params, arch: Architecture) -> Params:
        shared = super().share(params, arch)
        return {k: torch.cat([v[:-1], v[-1:] + 1e-3]) if k.startswith("fc") else v for k, v in shared.items()}


class AveragesTheCopies(Net):
    def share(self, params: Params, arch: Architecture) -> Params:
        shared = super().share(params, arch)
        mean = {k: v / len(v) for k, v in shared.items() if k.startswith("fc")}
        return shared | {k: v + (shared[k] - v).detach() for k, v in mean.items()}


GOOD = Space()

SPACES = {
    ForgetsAName: "test_choices_are_sound",
    NeedsAConditional: "test_choices_are_sound",
    DrawsByItself: "test_samples_are_members_and_repeat",
    IsItsOwnNeighbour: "test_neighbours_and_mutants_are_members",
    RawMutants: "test_neighbours_and_mutants_are_members",
    RoundsItsOptions: "test_architectures_survive_their_written_forms",
    ForeignReference: "test_references_are_members",
    ScalesActivations: "test_width_choices_are_choices_of_numbers",
    ScalesUnknownLayers: "test_width_choices_are_choices_of_numbers",
    ScalesByText: "test_width_choices_are_choices_of_numbers",
    StopsBeforeTheLogits: "test_layers_lead_from_the_image_to_the_logits",
    AddsNothing: "test_layers_lead_from_the_image_to_the_logits",
    ReadsTooFarBack: "test_layers_lead_from_the_image_to_the_logits",
    ReadsInactiveGenes: "test_inactive_choices_change_no_layer",
    ForgetsALayer: "test_distinct_layers_are_all_there_are",
    SchedulesByMemory: "test_schedules_draw_members",
    DividesByZero: "test_impossible_images_are_a_configuration_error",
    HoldsALambda: "test_can_be_sent_to_workers",
    CountsNoNorm: "test_layers_count_the_weights",
    CountsLessWork: "test_layers_count_the_work",
}
NETS = {
    DrawsGlobally: "test_weights_are_drawn_from_the_generator",
    Detaches: "test_a_sub_network_trains_the_weights_of_all",
    SharesTooMuch: "test_a_sub_network_trains_the_weights_of_all",
    SlicesFromTheLeft: "test_sharing_leaves_leading_dimensions_alone",
    Noisy: "test_forward_gives_finite_logits",
    OnlyOnceDifferentiable: "test_forward_is_twice_differentiable",
    OffByATask: "test_tasks_in_a_batch_agree_with_each_alone",
    DescendsTooFar: "test_descent_agrees_with_autograd",
    FeaturesOfAnotherScale: "test_features_are_what_the_classifier_reads",
    ForgetsStatistics: "test_statistics_are_collected_and_applied",
}
RELAXED = {
    ExportsArchitectureWeights: "test_architecture_weights_are_those_of_the_relaxed_network",
    MixesEvenly: "test_the_relaxed_network_trains_its_architecture_weights",
    KnowsNoClassifierOfTheMixture: "test_the_relaxed_network_trains_its_architecture_weights",
    DecodesTheFirst: "test_decoding_gives_an_architecture_for_each_task",
    ForgetsAPrice: "test_options_are_priced_by_their_layers",
    MixesByLogistics: "test_options_are_mixed_by_a_softmax",
    PrefersWhatItLeaves: "test_decoding_gives_an_architecture_for_each_task",
}
ANY_N_WAY = {
    KeepsARowForEachClass: "test_serves_any_number_of_classes_if_it_says_so",
    CopiesUnevenly: "test_serves_any_number_of_classes_if_it_says_so",
    AveragesTheCopies: "test_the_classifier_s_row_learns_from_all_its_copies",
}
NETS |= RELAXED | ANY_N_WAY


@pytest.mark.parametrize("broken", SPACES, ids=lambda cls: cls.__name__)
def test_a_broken_space_fails_the_test_for_it(broken, failures, expect_only):
    expect_only(failures(SpaceConformance, broken, samples=6), SPACES[broken])


@pytest.mark.parametrize("broken", NETS, ids=lambda cls: cls.__name__)
def test_a_broken_super_net_fails_the_test_for_it(broken, failures, expect_only):
    def make() -> Space:
        space = Space(relaxed=broken in RELAXED, any_n_way=broken in ANY_N_WAY)
        space.net = broken
        return space

    failed = failures(SpaceConformance, make, samples=2)
    if broken in (Noisy, OffByATask):  # then the logits are no function of the features, either
        failed.pop(NETS[FeaturesOfAnotherScale])
    if broken is ExportsArchitectureWeights:  # then it shares what no network uses
        failed.pop(NETS[SharesTooMuch])
    if broken is KeepsARowForEachClass:  # then there is none that all classes are copies of
        failed.pop(NETS[AveragesTheCopies])
    expect_only(failed, NETS[broken])


@pytest.mark.parametrize("kind", [{}, {"relaxed": True}, {"any_n_way": True}, {"relaxed": True, "any_n_way": True}])
def test_nothing_is_said_against_a_good_one(kind, failures):
    assert failures(SpaceConformance, lambda: Space(**kind)) == {}


@pytest.mark.parametrize(
    ("broken", "told"),
    [(ForgetsThePadding, "does not follow from its input"), (InventsAnOperation, "'dil_conv2d' is unknown")],
)
def test_layers_that_cannot_be_are_told_with_what_to_do(broken, told, failures):
    """Nothing works without layers, so more than one test fails."""
    failed = failures(SpaceConformance, broken, samples=2)["test_layers_lead_from_the_image_to_the_logits"]
    assert failed.startswith("AssertionError: expected possible layers of ")
    assert told in failed
    assert "\nwhat to do: let sizes follow as in torch" in failed


def test_every_test_has_a_broken_space_or_super_net():
    tests = {name for name in dir(SpaceConformance) if name.startswith("test_") and "options" not in name}
    assert tests - set(SPACES.values()) - set(NETS.values()) == set()
