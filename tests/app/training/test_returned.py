"""A plugin that returns what its interface does not allow is named with its method, before the value does harm."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from tiny_tasks import tiny_setup

from hnas import Episodes, EpisodeSpec, Layer, PluginError, Scores
from hnas.testing import TinySpace, TinyTasks
from hnas_app.cli import run as command_line
from hnas_app.costs.checked_layers import distinct_layers
from hnas_app.executors.in_process import InProcess
from hnas_app.training.fixed_norm import FixedNorm
from hnas_app.training.meta_batch import Part, meta_gradient
from hnas_app.training.outer_loop import score_tasks
from hnas_app.training.setup.classes import classes_of
from hnas_app.training.setup.returned import image_shape, n_classes, sampled, super_net, tasks_at_once
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

Change = Callable[[Any], Any]
ANYTHING: tuple[Change, ...] = (lambda _: None, lambda _: "\x1b[31mtext", lambda _: math.nan, lambda _: [None])


def spoilt(base: type, method: str, change: Change, *options: Any) -> Any:
    """Return a plugin whose ``method``, or property, returns what ``change`` makes of the right value."""
    found = getattr(base, method)

    def changed(self: Any, *words: Any, **named: Any) -> Any:
        right = found.__get__(self) if isinstance(found, property) else found(self, *words, **named)
        return change(right)

    body: Any = property(changed) if isinstance(found, property) else changed
    return type("Spoilt", (base,), {method: body, "__module__": __name__})(*options)


def refused(call: Callable[[], object], plugin: str, method: str, how: str = ", returned ") -> str:
    with pytest.raises(PluginError) as caught:
        call()
    told = str(caught.value)
    assert told.startswith(f"{plugin} {__name__}:Spoilt, in {method}(){how}"), told
    assert len(told) < 400
    return told


def changed(name: str, change: Change) -> Change:
    return lambda value: attrs.evolve(value, **{name: change(getattr(value, name))})


def with_nan(x: torch.Tensor) -> torch.Tensor:
    return x.index_fill(0, torch.tensor([0]), math.nan)


# ---------------------------------------------------------------- task sources


@pytest.mark.parametrize(
    ("change", "told"),
    [
        *((c, "expected Episodes") for c in ANYTHING),
        (changed("support_x", lambda x: None), "expected a tensor as support_x"),
        (changed("query_x", lambda x: x.numpy()), "expected a tensor as query_x"),
        (changed("query_x", lambda x: x[:, :-1]), "query_x of "),
        (changed("support_x", lambda x: x.half()), "support_x of "),
        (changed("support_x", lambda x: (x * 255).byte()), "torch.uint8"),
        (changed("support_x", lambda x: x.flatten(2)), "support_x of "),
        (changed("support_y", lambda y: y.int()), "torch.int32"),
        (changed("support_y", lambda y: y + 1), "support_y [1, 2, 3]"),
        (changed("query_y", lambda y: y.flip(1)), "labels in the order"),
        (changed("query_x", with_nan), "query_x with pixels that are not finite"),
        (changed("support_x", lambda x: x * math.inf), "support_x with pixels that are not finite"),
        (lambda tasks: tasks[:1], "support_x of (1, "),
        (changed("classes", lambda ids: ids.tolist()), "classes of list"),
        (changed("classes", lambda ids: ids.int()), "torch.int32"),
        (changed("classes", lambda ids: ids[:, :2]), "classes of (2, 2)"),
        (changed("classes", lambda ids: ids + 10), "expected different ids from 0 to 9"),
        (changed("classes", lambda ids: ids - 10), "expected different ids from 0 to 9"),
        (changed("classes", lambda ids: ids * 0), "expected different ids from 0 to 9"),
    ],
)
def test_tasks(change: Change, told: str) -> None:
    source = spoilt(TinyTasks, "sample", change, 0.1, 1.0)
    spec, generators = EpisodeSpec(n_way=3, k_shot=1, n_query=2), [np.random.default_rng(i) for i in range(2)]
    assert told in refused(
        lambda: sampled(source, "train", spec, generators, source.image_shape), "tasks", "sample"
    ).replace("\\x1b", "")
    setup = attrs.evolve(tiny_setup(), tasks=source)
    refused(lambda: setup.episodes("train", "a", [0, 1], 2, 0), "tasks", "sample")


def test_right_tasks_pass_also_with_pixels_whose_sum_is_not_finite() -> None:
    source = spoilt(TinyTasks, "sample", changed("query_x", lambda x: torch.full_like(x, 3e38)), 0.1, 1.0)
    spec = EpisodeSpec(n_way=3, k_shot=1, n_query=2)
    found = sampled(source, "train", spec, [np.random.default_rng(0)], source.image_shape)
    assert isinstance(found, Episodes)


@pytest.mark.parametrize("change", [*ANYTHING, lambda _: (1, 2), lambda _: (1.0, 8, 8), lambda _: (0, 8, 8)])
def test_image_shapes(change: Change) -> None:
    refused(lambda: image_shape(spoilt(TinyTasks, "image_shape", change, 0.1, 1.0)), "tasks", "image_shape")


@pytest.mark.parametrize("change", [*ANYTHING, lambda _: -1, lambda _: 2.5])
def test_numbers_of_classes(change: Change) -> None:
    refused(lambda: n_classes(spoilt(TinyTasks, "n_classes", change, 0.1, 1.0), "train"), "tasks", "n_classes")


@pytest.mark.parametrize("change", [*ANYTHING, lambda _: {"a": 1}, lambda _: {1: "a"}])
def test_digests_of_classes(change: Change) -> None:
    refused(lambda: classes_of(spoilt(TinyTasks, "class_digests", change, 0.1, 1.0)), "tasks", "class_digests")


# ---------------------------------------------------------------- spaces


@pytest.mark.parametrize("change", ANYTHING)
def test_super_nets(change: Change) -> None:
    space = spoilt(VGG9, "supernet", change, VGG9Options())
    refused(lambda: super_net(space, (1, 28, 28), 5), "space", "supernet")
    refused(lambda: attrs.evolve(tiny_setup(), space=space).supernet, "space", "supernet")


def field_of_layers(**values: Any) -> Change:
    return lambda layers: [attrs.evolve(layer, **values) for layer in layers]


@pytest.mark.parametrize(
    "change",
    [
        *ANYTHING,
        lambda _: [("conv2d", 3)],
        lambda layers: [attrs.evolve(layer, in_shape=list(layer.in_shape)) for layer in layers],
        lambda layers: [attrs.evolve(layer, stride=float(layer.stride)) for layer in layers],
    ],
)
def test_layers(change: Change) -> None:
    space = spoilt(TinySpace, "layers", change)
    refused(lambda: distinct_layers(space, (1, 8, 8), 3), "space", "layers")


@pytest.mark.parametrize(
    "change",
    [
        field_of_layers(kernel=-3),
        field_of_layers(stride=math.nan),
        field_of_layers(in_shape=(1, 8)),
        field_of_layers(out_shape=(0, 8, 8)),
        field_of_layers(op=None),
        field_of_layers(padding=4),
    ],
)
def test_layers_that_cannot_be(change: Change) -> None:
    space = spoilt(TinySpace, "layers", change)
    refused(lambda: distinct_layers(space, (1, 8, 8), 3), "space", "layers", ": there is no layer ")


@pytest.mark.parametrize("change", ANYTHING)
def test_largest_networks(change: Change) -> None:
    refused(lambda: distinct_layers(spoilt(TinySpace, "largest", change), (1, 8, 8), 3), "space", "largest")


def test_right_layers_pass() -> None:
    assert all(isinstance(layer, Layer) for layer in distinct_layers(TinySpace(), (1, 8, 8), 3))


# ---------------------------------------------------------------- learners


def learner(method: str, change: Change) -> Any:
    return spoilt(MAML, method, change, MAMLPlusPlusOptions(inner_steps=1))


WRONG_SCORES = (
    changed("loss", lambda x: None),
    changed("loss", lambda x: x.mean()),
    changed("accuracy", lambda x: x.tolist()),
    changed("accuracy", lambda x: x + 2),
    changed("loss", lambda x: -x - 1),
)


@pytest.mark.parametrize("change", [*ANYTHING, lambda _: {}, lambda state: {k: v.numpy() for k, v in state.items()}])
def test_first_states(change: Change) -> None:
    setup = attrs.evolve(tiny_setup(), learner=learner("init", change))
    refused(lambda: setup.fresh_state("meta-train-init"), "learner", "init")


@pytest.mark.parametrize("change", [*ANYTHING, *WRONG_SCORES])
def test_scores(change: Change) -> None:
    setup = attrs.evolve(tiny_setup(), learner=learner("score", change))
    executor = InProcess()
    setup.send(executor)
    state, arch = setup.fresh_state("a"), setup.space.smallest()
    refused(lambda: score_tasks(executor, state, arch, "test", "a", 2, 2), "learner", "score")


@pytest.mark.parametrize(
    "change",
    [
        *ANYTHING,
        lambda found: found[0],
        lambda found: (None, found[1]),
        lambda found: ({k: None for k in found[0]}, found[1]),
        lambda found: ({f"another/{k}": v for k, v in found[0].items()}, found[1]),
        lambda found: ({k: v.sum() for k, v in found[0].items()}, found[1]),
        *(lambda found, c=c: (found[0], c(found[1])) for c in WRONG_SCORES),
    ],
)
def test_gradients(change: Change) -> None:
    from hnas.learner import Progress

    setup = attrs.evolve(tiny_setup(), learner=learner("gradient", change))
    executor = InProcess()
    setup.send(executor)
    state, parts = setup.fresh_state("a"), [Part(arch=setup.space.smallest(), tasks=range(2))]
    progress = Progress(iteration=0, iterations_per_epoch=1, epochs=1)
    refused(lambda: meta_gradient(executor, state, parts, 2, progress, "meta-train"), "learner", "gradient")


@pytest.mark.parametrize("change", [*ANYTHING, lambda found: {k: v[0] for k, v in found.items()}])
def test_adapted_weights(change: Change) -> None:
    spoilt_one = learner("adapt", change)
    setup = attrs.evolve(tiny_setup(), learner=spoilt_one)
    state = setup.fresh_state("a")
    tasks, arch = setup.episodes("test", "a", [0, 1], 2), setup.space.smallest()
    refused(lambda: FixedNorm(spoilt_one).score(setup.supernet, state, tasks, arch), "learner", "adapt")


@pytest.mark.parametrize("change", [*ANYTHING, lambda _: 0, lambda _: 1.5])
def test_tasks_at_once(change: Change) -> None:
    setup = tiny_setup()
    refused(
        lambda: tasks_at_once(learner("tasks_at_once", change), setup.supernet, setup.space.smallest(), 3),
        "learner",
        "tasks_at_once",
    )


def test_scores_that_are_not_finite_pass() -> None:
    worst = Scores(loss=torch.tensor([math.inf, math.nan]), accuracy=torch.tensor([0.0, math.nan]))
    setup = attrs.evolve(tiny_setup(), learner=learner("score", lambda _: worst))
    executor = InProcess()
    setup.send(executor)
    losses, _ = score_tasks(executor, setup.fresh_state("a"), setup.space.smallest(), "test", "a", 2, 2)
    assert losses[0] == math.inf


# ---------------------------------------------------------------- the command line

HOSTILE = """
import sys
from hnas_plugins.tasks.glyphs.source import Glyphs, GlyphsOptions

class Spoilt(Glyphs):
    Options = GlyphsOptions
    def {method}(self, *words):
        {end}
"""


@pytest.mark.parametrize(
    ("method", "end", "told"),
    [
        ("sample", "return None", "in sample(), returned None; expected Episodes"),
        ("sample", "raise ValueError('no')", "in sample(), failed: ValueError: no"),
        ("n_classes", "sys.exit('bye')", "in n_classes(), tried to end the program: SystemExit: bye"),
        ("sample", "sys.exit('bye')", "in sample(), tried to end the program: SystemExit: bye"),
    ],
)
def test_the_command_line_names_the_plugin(
    method: str, end: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"{tmp_path.name}.py"  # no two modules of one name
    file.write_text(HOSTILE.format(method=method, end=end))
    words = ["data", "check"] if method == "n_classes" else ["meta-train", "--run-dir", str(tmp_path / "run")]
    target = [f"{file}:Spoilt"] if method == "n_classes" else ["--tasks", f"{file}:Spoilt"]
    assert command_line([*words, *target]) == 4
    error = capsys.readouterr().err.rpartition("error: ")[2]
    assert error.startswith(f"tasks {file.stem}:Spoilt, ")
    assert told in error
