"""The race of finalists: successive halving, recorded after each heat so that it can go on."""

from __future__ import annotations

from collections import Counter
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

    def run(self) -> Race:
        return race(self.networks, self.accuracy_after, 400, self.record, self.notes.append)

    def accuracy_after(self, name: str, network: Architecture, iterations: int) -> float:
        assert network == self.networks[name]
        self.trained.append((name, iterations))
        if name in self.diverge:
            raise DivergenceError("the meta-loss is nan")
        return self.accuracies[name]


FOUR = {"found": 0.5, "finalist-2": 0.7, "finalist-3": 0.6, "scaled": 0.4}


def test_a_third_go_on_for_four_times_as_long(tmp_path: Path) -> None:
    track = Track(FOUR, tmp_path / "race.json")
    found = track.run()
    assert track.trained == [*((name, 50) for name in FOUR), ("finalist-2", 200), ("finalist-3", 200)]
    assert found.winner == ("finalist-2", track.networks["finalist-2"])
    assert [list(heat.ranking) for heat in found.heats] == [
        ["finalist-2", "finalist-3", "found", "scaled"],
        ["finalist-2", "finalist-3"],
    ]


@pytest.mark.parametrize(
    ("networks", "heats"),
    [(2, {200: 2}), (3, {200: 3}), (4, {50: 4, 200: 2}), (8, {50: 8, 200: 3}), (9, {50: 9, 200: 3})],
)
def test_how_many_run_how_far(tmp_path: Path, networks: int, heats: dict[int, int]) -> None:
    track = Track({f"finalist-{i}": 1 / i for i in range(1, networks + 1)}, tmp_path / "race.json")
    assert track.run().winner[0] == "finalist-1"
    assert Counter(iterations for _, iterations in track.trained) == heats


def test_ten_run_three_heats(tmp_path: Path) -> None:
    track = Track({f"finalist-{i}": 1 / i for i in range(1, 11)}, tmp_path / "race.json")
    track.run()
    assert Counter(iterations for _, iterations in track.trained) == {12: 10, 50: 4, 200: 2}


def test_two_run_one_heat(tmp_path: Path) -> None:
    track = Track({"found": 0.5, "scaled": 0.5}, tmp_path / "race.json")
    assert track.run().winner[0] == "found"  # of equal ones the search's own choice
    assert track.trained == [("found", 200), ("scaled", 200)]


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
    assert again.trained == [("finalist-2", 200), ("finalist-3", 200)]
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
