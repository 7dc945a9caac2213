"""The networks that a run trains alone, and which of them was found, whatever diverges or is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from hnas import Architecture, Cost, DataError, DivergenceError, Event
from hnas_app.config.schema import Config, RetrainConfig
from hnas_app.runs.alone import Alone
from hnas_app.runs.run_dir import RunDir

A, B, C, SCALED, REFERENCE = (Architecture("tiny", (i, i)) for i in range(5))
GOOD = {A: 0.5, B: 0.7, C: 0.6, SCALED: 0.4}
"""In a race of these, B and C run the second heat, and B wins."""


def found(*finalists: Architecture, doubts: tuple[str, ...] = ()) -> Any:
    """The result of a search, as far as it matters here."""
    costs = [Cost(values={"params": float(arch.genes[0]), "macs": 1.0}) for arch in finalists]  # all of different sizes
    scored = [SimpleNamespace(arch=arch, cost=cost) for arch, cost in zip(finalists, costs, strict=True)]
    return lambda: SimpleNamespace(finalists=scored, chosen=scored[0], doubts=doubts)


class Trainings:
    """Stands in for the trainings of a run; those of ``diverging`` networks raise from an iteration on."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch, finalists: int = 3) -> None:
        self.done: list[tuple[str, Any]] = []
        self.diverging: dict[Architecture, int] = {}
        self.events: list[Event] = []
        patch.setattr("hnas_app.runs.alone.retrain", self.retrain)
        patch.setattr("hnas_app.runs.alone.mean_accuracy", lambda alone, state, arch, *_: GOOD[arch])
        config = Config(retrain=RetrainConfig(epochs=1, iterations=400, finalists=finalists))
        nothing: Any = None
        self.alone = Alone(
            run=RunDir.create(config, path=path / "run"),
            config=config,
            setup=nothing,
            supernet={},
            executor=nothing,
            emit=self.events.append,
            adapt=found(A, B, C),
            compared={"scaled": SCALED, "reference": REFERENCE},
        )

    def retrain(self, setup: Any, supernet: Any, arch: Architecture, *_: Any, until: int | None, **given: Any) -> Any:
        self.done.append((given["folder"].name.removeprefix("retrain-"), until))
        if arch in self.diverging and (until or 400) >= self.diverging[arch]:
            raise DivergenceError(f"{given['phase']}: the meta-loss is nan")
        return arch, {}

    def train(self) -> dict[str, Any]:
        """Train all; return the architecture of each network by its name."""
        self.done.clear()
        self.events.clear()
        with self.alone.run.running("retrain"):
            return {name: arch for name, (arch, _) in self.alone.train_all().items()}

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if event.kind == "note"]


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    return Trainings(tmp_path, monkeypatch)


def test_the_winner_and_what_it_is_compared_with_are_trained_to_the_end(trainings: Trainings) -> None:
    assert trainings.train() == {"found": B, "scaled": SCALED, "reference": REFERENCE}
    assert [name for name, until in trainings.done if until == 50] == ["found", "finalist-2", "finalist-3", "scaled"]
    assert [name for name, until in trainings.done if until == 200] == ["finalist-2", "finalist-3"]
    assert {name for name, until in trainings.done if until is None} == {"finalist-2", "scaled", "reference"}
    assert trainings.train()["found"] == B
    assert [until for _, until in trainings.done] == [None] * 4  # what is there is read


def test_if_the_winner_diverges_in_the_end_the_next_best_is_found(trainings: Trainings) -> None:
    """Hours of training ended in an error, though networks that had done nearly as well were there."""
    trainings.diverging = {B: 300}
    assert trainings.train()["found"] == C
    assert trainings.notes == ["finalist-2 won the race, and leaves it: retrain finalist-2: the meta-loss is nan"]
    assert trainings.alone.found == ("finalist-3", C)
    assert trainings.train()["found"] == C
    assert "finalist-2" not in dict(trainings.done)  # it is on record
    trainings.diverging = dict.fromkeys((A, B, C, SCALED), 300)
    with pytest.raises(DivergenceError):
        trainings.train()
    assert len(trainings.notes) == 2


def test_a_heat_in_which_all_diverge_is_not_the_end(trainings: Trainings) -> None:
    trainings.diverging = {B: 200, C: 200}
    assert trainings.train()["found"] == A
    assert len(trainings.notes) == 2


def test_a_network_to_compare_with_that_diverges_is_left_out_and_named(trainings: Trainings) -> None:
    """In the race or not: it ended the run that had found a network."""
    trainings.diverging = {SCALED: 50, REFERENCE: 50}
    assert trainings.train() == {"found": B}
    assert [text.partition(":")[0] for text in trainings.notes] == [
        "scaled leaves the race",
        "retrain scaled",
        "retrain reference",
    ]
    assert trainings.notes[-1].endswith("the meta-loss is nan; the run goes on without reference")
    assert trainings.alone.diverged["scaled"] == "retrain scaled: the meta-loss is nan"
    trainings.train()
    assert dict(trainings.done) == {"finalist-2": None}  # neither is tried again


def test_without_a_race_the_networks_own_error_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = Trainings(tmp_path, monkeypatch, finalists=1)
    assert trainings.train() == {"found": A, "scaled": SCALED, "reference": REFERENCE}
    assert not (trainings.alone.run.path / "race.json").exists()
    trainings.diverging = {A: 300}
    with pytest.raises(DivergenceError, match="retrain: the meta-loss is nan"):
        trainings.train()


def test_equal_networks_are_trained_once(trainings: Trainings) -> None:
    """The scaled reference may be one of the finalists: it was trained again, under another name, on other tasks."""
    trainings.alone = evolve(trainings.alone, compared={"scaled": C, "reference": REFERENCE, "other": REFERENCE})
    assert trainings.train() == {"found": B, "scaled": C, "reference": REFERENCE, "other": REFERENCE}
    assert {name for name, _ in trainings.done} == {"found", "finalist-2", "finalist-3", "reference"}
    assert {row: name for row, (name, _) in trainings.alone.names().items()} == {
        "found": "finalist-2",
        "scaled": "finalist-3",
        "reference": "reference",
        "other": "reference",
    }


def test_more_finalists_than_the_search_has_are_all_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(tmp_path, monkeypatch, finalists=50)
    trainings.train()
    race = trainings.alone.raced
    assert race is not None
    assert list(race.networks) == ["found", "finalist-2", "finalist-3", "scaled"]


@pytest.mark.parametrize(("finalists", "racing"), [(1, 0), (2, 4)])
def test_twice_as_many_race_if_the_scores_are_doubted(
    finalists: int, racing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(tmp_path, monkeypatch, finalists=finalists)
    trainings.alone = evolve(trainings.alone, adapt=found(A, B, C, doubts=("too young",)))
    trainings.train()
    assert len(trainings.alone.raced.networks if trainings.alone.raced else ()) == racing


def reversed_ranking(record: Path) -> None:
    value = json.loads(record.read_text())
    value["heats"][-1]["ranking"].reverse()
    record.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (reversed_ranking, "is damaged or was edited: its checksum does not hold"),
        (lambda record: record.write_text(record.read_text()[:-9]), "is damaged: not JSON"),
        (lambda record: record.unlink(), "No such file"),
    ],
)
def test_a_damaged_record_is_named_and_nobody_wins_by_it(trainings: Trainings, damage: Any, told: str) -> None:
    trainings.train()
    damage(trainings.alone.run.path / "race.json")
    with pytest.raises(DataError, match=told) as caught:
        _ = trainings.alone.found
    assert "race.json" in str(caught.value)
    assert "restore it from a copy, or move it and checkpoints/retrain-* away" in str(caught.value.hint)


def test_a_record_whose_keys_were_sorted_has_the_same_winner(trainings: Trainings) -> None:
    """As tools that write JSON do."""
    trainings.train()
    record, before = trainings.alone.run.path / "race.json", trainings.alone.raced
    record.write_text(json.dumps(json.loads(record.read_text()), sort_keys=True))
    assert trainings.alone.raced == before
    assert trainings.alone.found == ("finalist-2", B)


def test_a_race_of_other_networks_is_refused(trainings: Trainings) -> None:
    """Their checkpoints are not of these networks."""
    trainings.train()
    trainings.alone = evolve(trainings.alone, adapt=found(B, A, C))
    with pytest.raises(DataError, match="is not a race of these networks: found, finalist-2, finalist-3, scaled"):
        trainings.train()
