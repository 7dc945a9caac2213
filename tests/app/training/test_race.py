"""The race of finalists: successive halving, recorded after each heat so that it can go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from hnas import Architecture, DivergenceError
from hnas_app.training.race import Race, race


def arch(*genes: int) -> Architecture:
    return Architecture("tiny", genes)


class Track:
    """Networks whose accuracy is given, of which some diverge; keeps what was trained for how long."""

    def __init__(self, accuracies: dict[str, float], record: Path, diverge: tuple[str, ...] = ()) -> None:
        self.networks = {name: arch(i) for i, name in enumerate(accuracies)}
        self.accuracies, self.record, self.diverge = accuracies, record, diverge
        self.trained: list[tuple[str, int]] = []
        self.notes: list[str] = []
        self.better_in_the_end = ""
        self.diverge_in_the_end: list[str] = []

    def run(self, to_the_end: Sequence[str] = ()) -> Race:
        return race(self.networks, self.accuracy_after, 400, self.record, self.notes.append, to_the_end=to_the_end)

    def accuracy_after(self, name: str, network: Architecture, iterations: int) -> float:
        assert network == self.networks[name]
        self.trained.append((name, iterations))
        if name in self.diverge or (iterations == 400 and name in self.diverge_in_the_end):
            raise DivergenceError("the meta-loss is nan")
        return 0.9 if iterations == 400 and name == self.better_in_the_end else self.accuracies[name]


FOUR = {"found": 0.5, "finalist-2": 0.7, "finalist-3": 0.6, "scaled": 0.4}


def test_a_third_go_on_for_four_times_as_long(tmp_path: Path) -> None:
    track = Track(FOUR, tmp_path / "race.json")
    found = track.run()
    two = ["finalist-2", "finalist-3"]
    assert track.trained == [*((name, 50) for name in FOUR), *((name, n) for n in (200, 400) for name in two)]
    assert found.winner == ("finalist-2", track.networks["finalist-2"])
    assert [list(heat.ranking) for heat in found.heats] == [[*two, "found", "scaled"], two, two]


@pytest.mark.parametrize(
    ("networks", "heats"),
    [
        (2, {200: 2, 400: 2}),
        (3, {200: 3, 400: 3}),
        (4, {50: 4, 200: 2, 400: 2}),
        (8, {50: 8, 200: 3, 400: 3}),
        (9, {50: 9, 200: 3, 400: 3}),
        (10, {12: 10, 50: 4, 200: 2, 400: 2}),
    ],
)
def test_how_many_run_how_far(tmp_path: Path, networks: int, heats: dict[int, int]) -> None:
    track = Track({f"finalist-{i}": 1 / i for i in range(1, networks + 1)}, tmp_path / "race.json")
    assert track.run().winner[0] == "finalist-1"
    assert Counter(iterations for _, iterations in track.trained) == heats


def test_two_run_one_heat(tmp_path: Path) -> None:
    track = Track({"found": 0.5, "scaled": 0.5}, tmp_path / "race.json")
    assert track.run().winner[0] == "found"  # of equal ones the search's own choice
    assert track.trained == [(name, n) for n in (200, 400) for name in ("found", "scaled")]


def test_one_that_is_trained_to_the_end_anyway_runs_the_last_heat(tmp_path: Path) -> None:
    """The scaled reference, which is a row. It may be the best in the end."""
    track = Track(FOUR, tmp_path / "race.json")
    track.better_in_the_end = "scaled"
    found = track.run(to_the_end=["scaled"])
    assert [name for name, n in track.trained if n == 400] == ["finalist-2", "finalist-3", "scaled"]
    assert found.winner[0] == "scaled"
    assert track.run(to_the_end=["scaled"]) == found


def test_if_the_winner_diverges_in_the_end_the_next_best_is_found(tmp_path: Path) -> None:
    """Hours of training ended in an error, though networks that had done nearly as well were there."""
    track = Track(FOUR, tmp_path / "race.json")
    track.diverge_in_the_end = ["finalist-2"]
    assert track.run().winner[0] == "finalist-3"
    assert track.notes == ["finalist-2 leaves the race: the meta-loss is nan"]
    assert track.run().winner[0] == "finalist-3"
    assert len(track.notes) == 1


def test_if_all_that_are_trained_to_the_end_diverge_an_earlier_one_is(tmp_path: Path) -> None:
    track = Track(FOUR, tmp_path / "race.json")
    track.diverge_in_the_end = ["finalist-2", "finalist-3"]
    assert track.run().winner[0] == "found"
    assert track.trained[-1] == ("found", 400)
    track = Track(FOUR, tmp_path / "another.json")
    track.diverge_in_the_end = list(FOUR)
    with pytest.raises(DivergenceError, match="the meta-loss is nan"):
        track.run()


def test_a_heat_on_record_is_not_run_again(tmp_path: Path) -> None:
    """The second heat is interrupted; the first one's networks may have been trained further since."""
    whole = Track(FOUR, tmp_path / "whole.json").run()
    first = Track(FOUR, tmp_path / "race.json")

    def interrupted(name: str, network: Architecture, iterations: int) -> float:
        if iterations > 50:
            raise KeyboardInterrupt
        return FOUR[name]

    with pytest.raises(KeyboardInterrupt):
        race(first.networks, interrupted, 400, first.record, first.notes.append)
    again = Track(FOUR, tmp_path / "race.json")
    assert again.run() == whole
    assert again.trained == [(name, n) for n in (200, 400) for name in ("finalist-2", "finalist-3")]
    assert (tmp_path / "race.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert Track(FOUR, tmp_path / "race.json").run() == whole


def test_one_that_diverges_leaves_in_one_line_and_the_others_go_on(tmp_path: Path) -> None:
    track = Track(FOUR, tmp_path / "race.json", diverge=("finalist-2",))
    assert track.run().winner[0] == "finalist-3"
    assert track.notes == ["finalist-2 leaves the race: the meta-loss is nan"]


def test_if_all_diverge_the_error_is_theirs(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match="the meta-loss is nan"):
        Track(FOUR, tmp_path / "race.json", diverge=tuple(FOUR)).run()
    assert not (tmp_path / "race.json").exists()
