"""The example of a mixed super-net conforms, and T-NAS learns with it."""

from __future__ import annotations

from pathlib import Path

import hnas
from hnas.testing import LearnerConformance, SpaceConformance

REFERENCE = f"{Path(__file__).resolve().parents[2] / 'examples' / 'mixed_space.py'}:MixedSpace"
REGISTRY = hnas.Registry()


def mixed_space() -> hnas.SearchSpace:
    space: hnas.SearchSpace = REGISTRY.create("space", REFERENCE, REGISTRY.options_class("space", REFERENCE)(width=4))
    return space


class TestMixedSpace(SpaceConformance):
    def make(self) -> hnas.SearchSpace:
        return mixed_space()


def test_t_nas_proposes_networks_of_it(tmp_path):
    """The suite's own test of proposals, on this space."""

    class OnIt(LearnerConformance):
        iterations = 2

        def make(self) -> hnas.MetaLearner:
            learner: hnas.MetaLearner = REGISTRY.create("learner", "t-nas")
            return learner

        def space(self) -> hnas.SearchSpace:
            return mixed_space()

    OnIt().test_proposals_are_one_for_each_task()
