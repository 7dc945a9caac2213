"""The suite catches a broken task source, whatever is broken: one test fails, the one that is meant for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from hnas import DataError, Episodes, EpisodeSpec, TaskSource
from hnas.task_source import SPLITS, Split
from hnas.testing import TasksConformance

CLASSES, IMAGES = 8, 8


class Source(TaskSource):
    """Eight classes of eight images of noise in each split. Nothing is wrong with it."""

    image_shape = (1, 4, 4)
    first = (0, CLASSES, 2 * CLASSES)  # class of each split

    def n_classes(self, split: Split) -> int:
        return CLASSES

    def classes(self, spec: EpisodeSpec, generator: np.random.Generator) -> Any:
        return generator.choice(CLASSES, spec.n_way, replace=False)

    def images(self, spec: EpisodeSpec, generator: np.random.Generator) -> Any:
        return generator.choice(IMAGES, spec.k_shot + spec.n_query, replace=False)

    def refuse(self, spec: EpisodeSpec) -> None:
        if spec.n_way > CLASSES or spec.k_shot + spec.n_query > IMAGES:
            raise DataError(f"too few for {spec}")

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        self.refuse(spec)
        pixels = np.random.default_rng(0).random((3 * CLASSES, IMAGES, *self.image_shape), dtype=np.float32)
        tasks = []
        for generator in generators:
            picked = self.first[SPLITS.index(split)] + self.classes(spec, generator)
            tasks.append(np.stack([pixels[c][self.images(spec, generator)] for c in picked]))
        x = torch.from_numpy(np.stack(tasks))  # (task, way, image, C, H, W)
        labels = torch.arange(spec.n_way)
        return Episodes(
            support_x=x[:, :, : spec.k_shot].flatten(1, 2),
            support_y=labels.repeat_interleave(spec.k_shot).repeat(len(tasks), 1),
            query_x=x[:, :, spec.k_shot :].flatten(1, 2),
            query_y=labels.repeat_interleave(spec.n_query).repeat(len(tasks), 1),
        )


class SaysNothing(Source):
    def check(self) -> str:
        return ""


class Doubles(Source):
    """Images in float64, as numpy makes them."""

    def sample(self, *given: Any) -> Episodes:
        drawn = super().sample(*given)
        return evolve(drawn, query_x=drawn.query_x.double())


class SortsByImage(Source):
    """Query images stand round by round, with labels to match, instead of class by class."""

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        drawn = super().sample(split, spec, generators)
        order = torch.arange(spec.n_way * spec.n_query).view(spec.n_way, spec.n_query).T.flatten()
        return evolve(drawn, query_x=drawn.query_x[:, order], query_y=drawn.query_y[:, order])


class DrawsGlobally(Source):
    def classes(self, spec: EpisodeSpec, generator: np.random.Generator) -> Any:
        return np.random.permutation(CLASSES)[: spec.n_way]


class AugmentsGlobally(Source):
    """Only the augmentation of the second batch shows it: each source has a stream of its own."""

    made = 0

    def __init__(self) -> None:
        AugmentsGlobally.made += 1
        self.shift = AugmentsGlobally.made

    def sample(self, *given: Any) -> Episodes:
        drawn = super().sample(*given)
        return evolve(drawn, support_x=drawn.support_x + self.shift, query_x=drawn.query_x + self.shift)


class DrawsAllFromTheFirst(Source):
    """Tasks that are drawn together share a generator."""

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        return super().sample(split, spec, [generators[0]] * len(generators))


class QueriesItsSupport(Source):
    """Support and query images are drawn apart from each other."""

    def images(self, spec: EpisodeSpec, generator: np.random.Generator) -> Any:
        return np.concatenate([generator.choice(IMAGES, n, replace=False) for n in (spec.k_shot, spec.n_query)])


class DrawsWithReplacement(Source):
    """A class may be drawn twice; its images are still different, each half of them for one of the two."""

    def classes(self, spec: EpisodeSpec, generator: np.random.Generator) -> Any:
        drawn = generator.choice(CLASSES, spec.n_way, replace=False)
        drawn[-1] = drawn[0]
        self.halves = [*generator.permutation(2).tolist(), *[None] * (spec.n_way - 2)]
        self.halves = [self.halves[0], *[None] * (spec.n_way - 2), self.halves[1]]
        return drawn

    def images(self, spec: EpisodeSpec, generator: np.random.Generator) -> Any:
        half, count = self.halves.pop(0), spec.k_shot + spec.n_query
        if half is None:
            return generator.choice(IMAGES, count, replace=False)
        return np.arange(IMAGES).reshape(2, -1)[half][generator.permutation(IMAGES // 2)[:count]]


class SharesAClass(Source):
    """The first class of validation is the last one of training."""

    first = (0, CLASSES - 1, 2 * CLASSES - 1)


class IndexError_(Source):
    """Too many classes are an error of numpy's."""

    def refuse(self, spec: EpisodeSpec) -> None:
        pass


class NamesTheProcess(Source):
    """Digests that are not of the content."""

    def class_digests(self, split: Split) -> dict[str, str]:
        return {f"{split} {i}": str(id(self)) for i in range(CLASSES)}


class NamesAClassTwice(Source):
    """In each split, as if its classes were divided anew."""

    def class_digests(self, split: Split) -> dict[str, str]:
        return {str(i): "same" for i in range(CLASSES)}


class RestrictsToOthers(Source):
    """Other classes than the named ones are left out."""

    def class_digests(self, split: Split) -> dict[str, str]:
        return {f"{split} {i}": "same" for i in range(CLASSES)}

    def restricted_to(self, classes: Any) -> Source:
        other = Source()
        other.first = (1, CLASSES, 2 * CLASSES)
        return other


class HoldsAGenerator(Source):
    """An open file, or any other stream, cannot be sent to a worker."""

    def __init__(self) -> None:
        self.stream = (n for n in range(3))


class Numbered(Source):
    """It knows the ids of its classes. Nothing is wrong with it."""

    def classes(self, spec: EpisodeSpec, generator: np.random.Generator) -> Any:
        self.ids.append(super().classes(spec, generator))
        return self.ids[-1]

    def sample(self, *given: Any) -> Episodes:
        self.ids: list[Any] = []
        drawn = super().sample(*given)
        return evolve(drawn, classes=torch.from_numpy(np.stack(self.ids)))


class NumbersByLabel(Numbered):
    """A class has its label in the task as its id."""

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        drawn = super().sample(split, spec, generators)
        return evolve(drawn, classes=torch.arange(spec.n_way).repeat(len(drawn), 1))


class NumbersAcrossSplits(Numbered):
    """Ids go on from one split to the next."""

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        drawn = super().sample(split, spec, generators)
        return evolve(drawn, classes=drawn.classes + self.first[SPLITS.index(split)])


BROKEN: dict[Any, str] = {
    NumbersByLabel: "test_a_class_has_one_id_in_all_tasks",
    NumbersAcrossSplits: "test_a_class_has_one_id_in_all_tasks",
    SaysNothing: "test_says_what_there_is",
    Doubles: "test_tasks_have_their_shapes",
    SortsByImage: "test_tasks_have_their_shapes",
    AugmentsGlobally: "test_one_state_of_the_generator_gives_one_batch",
    DrawsAllFromTheFirst: "test_a_task_does_not_depend_on_those_drawn_with_it",
    QueriesItsSupport: "test_no_image_is_in_a_task_twice",
    DrawsWithReplacement: "test_no_class_is_in_a_task_twice",
    SharesAClass: "test_splits_share_no_image",
    IndexError_: "test_too_few_classes_or_images_are_a_data_error",
    NamesTheProcess: "test_names_its_classes_for_the_record",
    NamesAClassTwice: "test_names_its_classes_for_the_record",
    RestrictsToOthers: "test_names_its_classes_for_the_record",
    HoldsAGenerator: "test_can_be_sent_to_workers",
}
SIZE = {"spec": EpisodeSpec(n_way=3, k_shot=1, n_query=2), "images_per_class": IMAGES}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_source_fails_the_test_for_it(broken, failures, expect_only):
    expect_only(failures(TasksConformance, broken, **SIZE), BROKEN[broken])


def test_global_randomness_fails_whatever_repeats(failures):
    """Also the copy in a worker draws others, and so does one generator after another: those tests may fail, too."""
    failed = failures(TasksConformance, DrawsGlobally, **SIZE)
    assert set(failed) == {
        "test_one_state_of_the_generator_gives_one_batch",
        "test_a_task_does_not_depend_on_those_drawn_with_it",
        "test_can_be_sent_to_workers",
    }


def test_a_source_of_the_old_signature_is_told_the_new_one(failures):
    class Old(Source):
        def sample(self, split: Any, n_tasks: int, spec: Any, generator: Any) -> Any:
            raise AssertionError

    failed = failures(TasksConformance, Old, **SIZE)["test_tasks_have_their_shapes"]
    assert (
        "sample(split, n_tasks, spec, generator) cannot be called as hnas.TaskSource.sample(split, spec, gen" in failed
    )


def test_nothing_is_said_against_a_good_one(failures):
    assert failures(TasksConformance, Source, **SIZE) == {}
    assert failures(TasksConformance, Numbered, **SIZE) == {}


def test_every_test_has_a_broken_source():
    tests = {name for name in dir(TasksConformance) if name.startswith("test_") and "options" not in name}
    assert tests - set(BROKEN.values()) == set()
