"""What the plugins of a set-up return, checked where it enters: a wrong value is an error that names its method."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from hnas.architecture import Architecture, Proposal
from hnas.episode import TENSORS, Episodes, EpisodeSpec
from hnas.errors import ConfigError, short
from hnas.layer import Layer, Shape
from hnas.learner import Gradient, Inference, MetaLearner, Scores, State
from hnas.space import SearchSpace
from hnas.supernet import Params, SuperNet
from hnas.task_source import Split, TaskSource
from hnas_app.executors.plugin_exit import wrong

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def image_shape(source: TaskSource) -> Shape:
    """Return the shape of a source's images. Raises `PluginError` unless it is channels, height and width."""
    found = source.image_shape
    try:
        channels, height, width = map(operator.index, found)
    except (TypeError, ValueError) as cause:
        raise wrong(source, "image_shape", short(found), "channels, height and width") from cause
    if min(channels, height, width) < 1:
        raise wrong(source, "image_shape", short(found), "channels, height and width of at least 1")
    return channels, height, width


def n_classes(source: TaskSource, split: Split) -> int:
    """Return how many classes a split has. Raises `PluginError` unless it is a whole number of at least 0."""
    found = source.n_classes(split)
    try:
        number = operator.index(found)
    except TypeError as cause:
        raise wrong(source, "n_classes", short(found), "a whole number") from cause
    if number < 0:
        raise wrong(source, "n_classes", short(found), "at least 0")
    return number


def class_digests(source: TaskSource, split: Split) -> dict[str, str]:
    """Return the digests of a split's classes. Raises `PluginError` unless they are texts by name."""
    found = _of_type(Mapping, source.class_digests(split), source, "class_digests")
    if wrong_ones := {k: v for k, v in found.items() if not isinstance(k, str) or not isinstance(v, str)}:
        raise wrong(source, "class_digests", short(wrong_ones), "digests by the names of classes")
    return dict(found)


def sampled(
    source: TaskSource, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator], shape: Shape
) -> Episodes:
    """Return the tasks that a source draws, of images of ``shape``. Raises `PluginError` unless they are as `Episodes`
    says: every tensor of its shape and type, labels in order, pixels finite, and ids of different classes.
    """
    import torch

    tasks: Episodes = _of_type(Episodes, source.sample(split, spec, generators), source, "sample")
    for name in TENSORS:
        found, images = getattr(tasks, name), name.endswith("x")
        each = spec.k_shot if name.startswith("support") else spec.n_query
        size = (len(generators), spec.n_way * each, *(shape if images else ()))
        dtypes = (torch.float32, torch.float64) if images else (torch.int64,)
        if not isinstance(found, torch.Tensor):
            raise wrong(source, "sample", short(found), f"a tensor as {name}")
        if found.shape != size or found.dtype not in dtypes:
            raise wrong(source, "sample", f"{name} of {_told(found)}", f"{size} {dtypes[0]}")
        # A sum is finite if all are, and takes no memory; of very large pixels it overflows.
        if images and not found.sum().isfinite() and not found.isfinite().all():
            raise wrong(source, "sample", f"{name} with pixels that are not finite", "finite ones")
        if not images and not found.equal(torch.arange(spec.n_way).repeat_interleave(each).expand(size)):
            raise wrong(source, "sample", f"{name} {found[0].tolist()}", "labels in the order 0,0,…,1,1,…")
    if tasks.classes is not None:
        _check_ids(source, tasks.classes, (len(generators), spec.n_way), n_classes(source, split))
    return tasks


def _check_ids(source: TaskSource, found: Any, size: tuple[int, int], count: int) -> None:
    """Raise `PluginError` unless the ids of the classes are a tensor as `Episodes` says, none twice in a task."""
    import torch

    if not isinstance(found, torch.Tensor) or found.shape != size or found.dtype != torch.int64:
        raise wrong(source, "sample", f"classes of {_told(found)}", f"{size} {torch.int64}")
    ordered = found.sort(dim=1).values
    if bool((ordered[:, 0] < 0).any() or (ordered[:, -1] >= count).any() or (ordered.diff(dim=1) == 0).any()):
        raise wrong(source, "sample", f"classes {short(found.tolist())}", f"different ids from 0 to {count - 1}")


def super_net(space: SearchSpace, shape: Shape, n_way: int) -> SuperNet:
    """Return the super-net of a space. Raises `PluginError` unless it is one."""
    made: SuperNet = _of_type(SuperNet, space.supernet(shape, n_way), space, "supernet")
    return made


def initial(learner: MetaLearner, supernet: SuperNet, generator: Any) -> State:
    """Return a learner's fresh state. Raises `PluginError` unless it is tensors by name."""
    return _tensors(learner, "init", learner.init(supernet, generator))


def adapted_weights(learner: MetaLearner, found: Any, n_tasks: int) -> Params:
    """Return the weights that ``learner.adapt`` found for tasks. Raises `PluginError` unless they are tensors."""
    tensors = _tensors(learner, "adapt", found)
    for name, value in tensors.items():
        if value.shape[:1] != (n_tasks,):
            raise wrong(learner, "adapt", f"{name} of {_told(value)}", f"{n_tasks} tasks as its first dimension")
    return tensors


def proposed(learner: MetaLearner, found: Any, n_tasks: int, space: SearchSpace) -> list[Proposal]:
    """Return what ``learner.propose`` found, in canonical form, with weights, which are empty if it gave none.

    Raises `PluginError` unless it is as it must be: one architecture of the space for each task, and if there are
    weights, for each choice none or a finite number for each of its options.
    """
    made = list(found) if isinstance(found, list | tuple) else []
    if len(made) != n_tasks or not all(isinstance(one, Architecture | Proposal) for one in made):
        raise wrong(learner, "propose", short(found), f"{n_tasks} architectures, one for each task")
    return [_canonical(learner, one, space) for one in made]


def _canonical(learner: MetaLearner, found: Architecture | Proposal, space: SearchSpace) -> Proposal:
    arch, weights = (found.arch, found.weights) if isinstance(found, Proposal) else (found, ())
    try:
        space.check(arch)
    except ConfigError as mistake:
        raise wrong(learner, "propose", f"{arch} ({mistake})", f"architectures of {space.name}") from mistake
    sizes = [len(choice.options) for choice in space.choices]
    if weights and (
        len(weights) != len(sizes) or any(len(w) not in (0, n) for w, n in zip(weights, sizes, strict=True))
    ):
        told = f"weights of {', '.join(str(len(w)) for w in weights)} options"
        raise wrong(learner, "propose", told, f"{', '.join(map(str, sizes))}, or 0 of a choice that must stay")
    if any(not math.isfinite(x) for w in weights for x in w):
        raise wrong(learner, "propose", f"weights {short(weights)}", "finite ones")
    return Proposal(arch=space.canonical(arch), weights=tuple(tuple(map(float, w)) for w in weights))


def gradient_and_scores(learner: MetaLearner, found: Any, n_tasks: int, state: State) -> tuple[Gradient, Scores]:
    """Return what ``learner.gradient`` found for a state. Raises `PluginError` unless it is as it must be: scores, and
    tensors by name, some of them of the state and those of its shapes.
    """
    if not isinstance(found, tuple) or len(found) != 2:
        raise wrong(learner, "gradient", short(found), "a gradient and Scores")
    gradient = _tensors(learner, "gradient", found[0])
    if gradient.keys().isdisjoint(state):
        told = f"names such as {short(min(gradient))}"
        raise wrong(learner, "gradient", told, f"names of the state, such as {short(min(state))}")
    for name in gradient.keys() & state.keys():
        if gradient[name].shape != state[name].shape:
            raise wrong(learner, "gradient", f"{name} of {_told(gradient[name])}", f"{tuple(state[name].shape)}")
    return gradient, checked_scores(learner, found[1], n_tasks, "gradient")


def checked_scores(learner: MetaLearner, found: Any, n_tasks: int, method: str = "score") -> Scores:
    """Return a learner's scores. Raises `PluginError` unless they are a loss and an accuracy for each task.

    Numbers that are not finite pass: training says that it diverged, and a search takes them as the worst.
    """
    import torch

    checked: Scores = _of_type(Scores, found, learner, method)
    for name in ("loss", "accuracy"):
        value = getattr(checked, name)
        if not isinstance(value, torch.Tensor) or value.shape != (n_tasks,):
            raise wrong(learner, method, f"{name} of {_told(value)}", f"a tensor of ({n_tasks},)")
    if (checked.loss < 0).any():
        raise wrong(learner, method, f"a loss of {checked.loss.min().item()}", "none below 0")
    if ((checked.accuracy < 0) | (checked.accuracy > 1)).any():
        raise wrong(learner, method, f"accuracies of {checked.accuracy.tolist()}", "0 to 1")
    return checked


def inference(learner: MetaLearner, layers: Sequence[Layer], n_way: int, k_shot: int) -> Inference:
    """Return what a prediction takes. Raises `PluginError` unless it is one pass or more, and no negative size."""
    found: Inference = _of_type(Inference, learner.inference(layers, n_way, k_shot), learner, "inference")
    if not (isinstance(found.passes, Real) and 1 <= found.passes < math.inf):
        raise wrong(learner, "inference", f"passes={short(found.passes)}", "a finite number of at least 1")
    if not isinstance(found.stored, Integral) or found.stored < 0:
        raise wrong(learner, "inference", f"stored={short(found.stored)}", "a whole number of bytes, 0 or more")
    return found


def tasks_at_once(learner: MetaLearner, supernet: SuperNet, arch: Architecture, n_support: int) -> int:
    """Return the best number of tasks for one `score`. Raises `PluginError` unless it is a whole number from 1 up."""
    found = learner.tasks_at_once(supernet, arch, n_support)
    if not isinstance(found, Integral) or int(found) < 1:
        raise wrong(learner, "tasks_at_once", short(found), "a whole number of at least 1")
    return int(found)


def _of_type(cls: Any, value: Any, plugin: object, method: str) -> Any:
    if not isinstance(value, cls):
        raise wrong(plugin, method, short(value), cls.__name__)
    return value


def _tensors(learner: MetaLearner, method: str, found: Any) -> dict[str, Tensor]:
    import torch

    if not isinstance(found, dict) or not found:
        raise wrong(learner, method, short(found), "tensors by name")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise wrong(learner, method, f"{short(value)} as {short(name)}", "tensors by name")
    return found


def _told(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"{tuple(shape)} {value.dtype}" if shape is not None else str(type(value).__name__)
