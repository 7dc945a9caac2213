"""The tests that every source of few-shot tasks has to pass."""

from __future__ import annotations

import numpy as np
import torch
from attrs import evolve

from hnas.discovery.loading import mismatch
from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError
from hnas.seeds import Seeds
from hnas.task_source import SPLITS, Split, TaskSource
from hnas_app.testing.conformance import Conformance
from hnas_app.testing.expectation import (
    GlobalRandomness,
    agree,
    ending,
    expect,
    not_applicable,
    sent_to_a_worker,
    unequal,
)
from hnas_app.testing.image_groups import ImageGroups, tasks


class TasksConformance(Conformance[TaskSource]):
    """Tests of a task source. Images are compared by their bytes: switch augmentation off in `make`, to see more."""

    spec: EpisodeSpec = EpisodeSpec(n_way=3, k_shot=2, n_query=3)
    n_tasks: int = 30
    """Tasks that are drawn of each split, to look for classes that are in a task twice, or in two splits."""
    images_per_class: int | None = None
    """The number of images of the smallest class, if it is limited: asking for more must be an error."""

    # ---------------------------------------------------------------- its description

    def test_says_what_there_is(self) -> None:
        """Three positive sizes of an image, enough classes in each split, and a sentence from ``check``."""
        source = self.make()
        shape = source.image_shape
        good = len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)
        expect(good, "channels, height and width", shape, "return three positive whole numbers")
        for split in SPLITS:
            n = source.n_classes(split)
            then = "give the split more classes, or set a smaller `spec` in your test"
            expect(isinstance(n, int) and n >= self.spec.n_way, f"{self.spec.n_way} {split} classes or more", n, then)
        told = source.check()
        expect(isinstance(told, str) and bool(told), "a sentence from `check`", told, "say what is there")

    # ---------------------------------------------------------------- its tasks

    def test_tasks_have_their_shapes(self) -> None:
        """float32 images, int64 labels in the order 0,0,…,1,1,…: learners and workers rely on it."""
        source, spec = self.make(), self.spec
        fault = mismatch(source, TaskSource)
        expect(not fault, "sample(split, spec, generators)", fault, "draw one task from each generator, and stack them")
        for split in SPLITS:
            drawn = self._sample(source, split, 2)
            for part, each in (("support", spec.k_shot), ("query", spec.n_query)):
                x, y = getattr(drawn, f"{part}_x"), getattr(drawn, f"{part}_y")
                expected = (2, spec.n_way * each, *source.image_shape)
                then = "stack tasks first, then classes, then each class's images"
                expect(tuple(x.shape) == expected, f"{part}_x of {expected}", tuple(x.shape), then)
                good = x.dtype == torch.float32 and y.dtype == torch.int64 and x.is_cpu and bool(x.isfinite().all())
                then = "return finite float32 images and int64 labels, on the CPU"
                expect(good, f"finite float32 {part} images", f"{x.dtype}, {y.dtype}", then)
                labels = torch.arange(spec.n_way).repeat_interleave(each).expand(2, -1)
                then = "let the labels be 0,0,…,1,1,… in every task, whatever the classes are called"
                expect(agree(y, labels), f"{part} labels {labels[0].tolist()}", y.tolist(), then)

    def test_one_state_of_the_generator_gives_one_batch(self) -> None:
        """A resumed run draws the tasks again."""
        untouched = GlobalRandomness()
        for split in SPLITS:
            one, two = self._sample(self.make(), split, 3), self._sample(self.make(), split, 3)
            then = "draw a task's classes, images and augmentation from its generator only"
            expect(_equal(one, two), f"the same {split} tasks from the same state", "others", then)
            other = self._sample(self.make(), split, 3, seed=1)
            expect(not _equal(one, other), f"other {split} tasks from another state", "the same", then)
            differ = len(one) == 3 and not agree(one.support_x[0], one.support_x[1])
            expect(differ, "the tasks of a batch to differ", "the first two are equal", "draw each task's classes anew")
        untouched.expect_untouched("`sample`")

    def test_a_task_does_not_depend_on_those_drawn_with_it(self) -> None:
        """Workers draw any part of a stream of tasks, as many at once as they have to."""
        source = self.make()
        for split in SPLITS:
            together = source.sample(split, self.spec, self._generators(3))
            singly = [source.sample(split, self.spec, [generator]) for generator in self._generators(3)]
            then = "let each generator decide one task alone"
            equal = len(together) == 3 and all(_equal(together[i : i + 1], singly[i]) for i in range(3))
            expect(equal, f"the {split} tasks that each generator gives alone", "others", then)

    def test_no_image_is_in_a_task_twice(self) -> None:
        """A query image that was among the support images is a test question with its answer."""
        source = self.make()
        for split in SPLITS:
            for images in tasks(self._sample(source, split, self.n_tasks)):
                every = [image for label in images.values() for image in label]
                then = "draw support and query images of a class together, without replacement"
                twice = len(every) - len(set(every))
                expect(not twice, f"{len(every)} different images in a {split} task", f"{twice} again", then)

    def test_no_class_is_in_a_task_twice(self) -> None:
        """As far as can be seen: images that ever shared a label are of one class, and must always share one."""
        source = self.make()
        for split in SPLITS:
            n_way = min(source.n_classes(split), 2 * self.spec.n_way)
            drawn = self._sample(source, split, self.n_tasks, spec=evolve(self.spec, n_way=n_way))
            groups = ImageGroups()
            groups.add(drawn)
            for images in tasks(drawn):
                classes = {groups.group(image) for label in images.values() for image in label}
                then = "draw the classes of a task without replacement"
                told = f"{len(classes)} of {n_way}; two labels stand for one class"
                expect(len(classes) == n_way, f"{n_way} classes in a {split} task", told, then)

    def test_a_class_has_one_id_in_all_tasks(self) -> None:
        """As far as can be seen: learners of ``needs_classes`` classify by `Episodes.classes`."""
        source = self.make()
        for split in SPLITS:
            count, drawn = source.n_classes(split), self._sample(source, split, self.n_tasks)
            if drawn.classes is None:
                not_applicable("the source does not know the ids of its classes")
            ids = drawn.classes
            then = "return the numbers of each task's classes in the split, in the order of its labels"
            good = ids.shape == (self.n_tasks, self.spec.n_way) and ids.dtype == torch.int64
            expect(good, f"int64 ids ({self.n_tasks}, {self.spec.n_way})", f"{ids.dtype} {tuple(ids.shape)}", then)
            good = all(len(set(own)) == len(own) and set(own) <= set(range(count)) for own in ids.tolist())
            expect(good, f"different ids from 0 to {count - 1} in each {split} task", ids.tolist(), then)
            groups, known = ImageGroups(), dict[bytes, int]()
            groups.add(drawn)
            for images, own in zip(tasks(drawn), ids.tolist(), strict=True):
                for label, members in images.items():
                    seen = known.setdefault(groups.group(members[0]), own[label])
                    expect(seen == own[label], f"one id for a class of {split}", f"{seen} and {own[label]}", then)

    def test_splits_share_no_image(self) -> None:
        """As far as can be seen: accuracy is promised on classes that training never saw."""
        source, seen = self.make(), dict[str, set[bytes]]()
        for split in SPLITS:
            groups = ImageGroups()
            groups.add(self._sample(source, split, self.n_tasks))
            for other, images in seen.items():
                common = len(images & groups.images)
                then = "give every class to one split only"
                expect(not common, f"no image in both {other} and {split}", f"{common} are", then)
            seen[split] = groups.images

    # ---------------------------------------------------------------- its record

    def test_names_its_classes_for_the_record(self) -> None:
        """A run compares them with those that it was trained with, in every process. For sources that know them."""
        source = self.make()
        known = {split: dict(source.class_digests(split)) for split in SPLITS}
        names = [name for members in known.values() for name in members]
        then = "give every class one name, in one split, and a digest of its content"
        expect(len(set(names)) == len(names), "every class in one split", f"{len(names)} names, some again", then)
        for split, members in known.items():
            expect(len(members) <= source.n_classes(split), f"{split} classes at most", f"{len(members)} names", then)
            good = all(isinstance(text, str) and text for pair in members.items() for text in pair)
            expect(good, "names and digests that are texts", members, then)
        for other in (self.make(), sent_to_a_worker(source, "task source")) if names else ():
            then = "let digests depend on the content only, not on the process or on the time"
            again = {split: dict(other.class_digests(split)) for split in SPLITS}
            expect(again == known, "the same names and digests each time", "others", then)
        same = source.restricted_to(names) if names else None
        if same is not None:
            then = "leave out the classes that are not named, and change nothing else"
            equal = all(_equal(self._sample(same, s, 2), self._sample(source, s, 2)) for s in SPLITS)
            expect(equal, "the same tasks if restricted to all classes", "others", then)

    # ---------------------------------------------------------------- errors and workers

    def test_too_few_classes_or_images_are_a_data_error(self) -> None:
        """The error states what is there and what was wanted; it is no IndexError from somewhere."""
        source = self.make()
        for split in SPLITS:
            wanted = [EpisodeSpec(n_way=source.n_classes(split) + 1, k_shot=1, n_query=1)]
            if self.images_per_class is not None:
                wanted.append(EpisodeSpec(n_way=2, k_shot=1, n_query=self.images_per_class))
            for spec in wanted:
                then = "compare `spec` with all classes of the split, and raise hnas.DataError with a hint"
                for seed in range(4):  # whichever classes are drawn
                    with ending(f"DataError for {spec} of the {split} split", then, DataError) as seen:
                        self._sample(source, split, 1, spec=spec, seed=seed)
                        seen.append("tasks")

    def test_can_be_sent_to_workers(self) -> None:
        """They are sent the source and open the data themselves, even if it has been used here before."""
        source = self.make()
        here = self._sample(source, "train", 2)
        there = self._sample(sent_to_a_worker(source, "task source"), "train", 2)
        then = "keep the options and open the data in cached properties, which are not sent"
        expect(_equal(here, there), "the same tasks in a worker", "others", then)

    # ---------------------------------------------------------------- inside

    def _sample(
        self, source: TaskSource, split: Split, n_tasks: int, *, seed: int = 0, spec: EpisodeSpec | None = None
    ) -> Episodes:
        return source.sample(split, spec or self.spec, self._generators(n_tasks, seed))

    def _generators(self, n_tasks: int, seed: int = 0) -> list[np.random.Generator]:
        return [Seeds(seed).numpy("conformance", i) for i in range(n_tasks)]


def _equal(one: Episodes, two: Episodes) -> bool:
    return not unequal(one.tensors, two.tensors)
