"""`hnas front`: a sweep's genetic searches and one of NSGA-II in one table and picture, with real weights."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hnas_app.cli import run
from hnas_app.config.changes import with_checksum
from hnas_app.fronts.dominance import hypervolume, nondominated

TINY = {
    "space.base_width": 4,
    "task.n_way": 2,
    "strategy.population": 8,
    "strategy.iterations": 3,
    "learner.inner_steps": 2,
    "meta_train.epochs": 1,
    "meta_train.iterations": 5,
    "meta_train.tasks": 2,
    "meta_train.shrink_start": 0,
    "search.tasks": 3,
    "search.pool": 10,
    "search.n_query": 3,
    "search.final_tasks": 5,
    "search.finalists": 3,
    "evaluate.n_query": 3,
}
LIMITS = ("latency<=0.4ref", "latency<=0.8ref")


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, hnas_home: Path, required_module: Callable[[str], ModuleType]
) -> dict[str, Path]:
    """One super-net, searched with three times: a sweep over two limits, and nsga2; and another, not theirs."""
    required_module("pymoo")
    folder = tmp_path_factory.mktemp("front")
    sets = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    found = {name: folder / name for name in ("supernet", "other")}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed, path in enumerate(found.values()):
            train = ["meta-train", "--preset", "none", "--workers", "1", "--seed", str(seed), "--run-dir", str(path)]
            assert run([*train, *sets]) == 0
        constraints = [part for limit in LIMITS for part in ("--constraint", limit)]
        before = set(folder.iterdir())
        assert run(["adapt", str(found["supernet"]), "--workers", "1", *constraints]) == 0
        (found["sweep"],) = set(folder.iterdir()) - before
        nsga2 = ["adapt", str(found["supernet"]), "--workers", "1", "--strategy", "nsga2", "--constraint", LIMITS[1]]
        budget = ["--set", "strategy.population=8", "--set", "strategy.iterations=3"]
        before = set(folder.iterdir())
        assert run([*nsga2, *budget]) == 0
        (found["nsga2"],) = set(folder.iterdir()) - before
    return found


def front(capsys: pytest.CaptureFixture[str], *command: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["front", *map(str, command), "--tasks", "4", "--workers", "1"])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_sweep_and_nsga2_land_in_one_front(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "front.png"
    code, out, err = front(capsys, runs["sweep"], runs["nsga2"], "--out", picture, "--json")
    assert code == 0, err
    told = json.loads(out)
    (found,) = told["fronts"]
    assert found["metric"]["name"] == "latency"
    genetic, nsga2 = found["series"]
    assert (genetic["strategy"], len(genetic["runs"]), genetic["limits"]) == ("genetic", 2, list(LIMITS))
    assert (nsga2["strategy"], len(nsga2["runs"])) == ("nsga2", 1)
    assert set(found["references"]) == {"maml++", "maml++-omniglot"}
    corner = tuple(found["reference_point"])
    assert corner[1] == pytest.approx(math.log(2))
    assert corner[0] >= 1.1 * found["references"]["maml++-omniglot"]["cost"] - 1e-12
    everyone = []
    for series in (genetic, nsga2):
        points = [(n["cost"], n["loss"]) for n in series["front"]]
        assert nondominated(points) == list(range(len(points)))
        assert series["hypervolume"] == pytest.approx(hypervolume(points, corner))
        assert series["share"] == pytest.approx(series["hypervolume"] / (corner[0] * corner[1]))
        assert max(cost for cost, _ in points) <= 0.8 * found["references"]["maml++-omniglot"]["cost"] + 1e-12
        everyone += points
    assert found["together"] == pytest.approx(hypervolume(everyone, corner))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_candidates_are_scored_on_the_same_tasks_whoever_found_them(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run alone gives its networks the same losses as it does among others."""
    told = []
    for paths in ([runs["nsga2"]], [runs["sweep"], runs["nsga2"]]):
        code, out, err = front(capsys, *paths, "--out", tmp_path / "front.svg", "--json")
        assert code == 0, err
        series = json.loads(out)["fronts"][0]["series"]
        told.append(
            {str(n["arch"]["genes"]): n["loss"] for s in series if s["strategy"] == "nsga2" for n in s["front"]}
        )
    assert told[0] == told[1]
    first = (tmp_path / "front.svg").read_bytes()
    assert front(capsys, runs["sweep"], runs["nsga2"], "--out", tmp_path / "front.svg")[0] == 0
    assert (tmp_path / "front.svg").read_bytes() == first  # the same picture again, to the byte


def test_the_table_names_networks_costs_and_hypervolumes(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    record = (runs["nsga2"] / "run.json").read_bytes(), (runs["nsga2"] / "metrics.jsonl").read_bytes()
    code, out, err = front(capsys, runs["nsga2"], "--metric", "params", "--by", "error")
    assert code == 0, err
    assert "network" in out
    assert "params" in out
    assert "maml++-omniglot" in out
    assert "hypervolume up to params" in out
    assert "error 0.5" in out
    assert "2-way 1-shot, 4 validation tasks" in out
    assert f"picture: {runs['nsga2'] / 'front.png'}" in out
    assert "next: hnas" in err
    # It reads: the run is as it was, but for the picture.
    assert ((runs["nsga2"] / "run.json").read_bytes(), (runs["nsga2"] / "metrics.jsonl").read_bytes()) == record


def test_what_does_not_compare_is_refused_with_the_reason(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = front(capsys, runs["nsga2"], runs["other"])
    assert code == 3
    assert "has no finished search: profile, adapt is still to do" in err
    assert f"hnas adapt {runs['other']}" in err

    other = tmp_path / "other"  # a finished search under other weights: the other super-net with a search of its own
    shutil.copytree(runs["nsga2"], other)
    shutil.rmtree(other / "checkpoints" / "meta-train")
    shutil.copytree(runs["other"] / "checkpoints" / "meta-train", other / "checkpoints" / "meta-train")
    code, _, err = front(capsys, runs["nsga2"], other)
    assert code == 3
    assert f"{other}: its super-net is another one" in err

    steps = tmp_path / "steps"  # the same weights, but adapted by more steps
    shutil.copytree(runs["nsga2"], steps)
    config = (steps / "config.toml").read_text()
    assert "inner_steps = 2" in config
    config = config.rpartition("\n# checksum")[0].replace("inner_steps = 2", "inner_steps = 3")
    (steps / "config.toml").write_text(with_checksum(config))
    code, _, err = front(capsys, runs["nsga2"], steps)
    assert code == 3
    assert f"{steps}: learner.inner_steps is 3, not 2" in err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--metric", "latencyy"), 3, "unknown metric 'latencyy'. Did you mean 'latency'?"),
        (("--out", "front.bmp"), 2, "front.bmp is neither .png nor .svg"),
        (("--out", "nowhere/front.png"), 2, "nowhere is not a folder"),
    ],
)
def test_mistakes_are_told_before_anything_is_scored(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, told: str
) -> None:
    seen, _, err = front(capsys, runs["nsga2"], *arguments)
    assert seen == code
    assert told in " ".join(err.split())
    assert "scoring" not in err


def test_a_folder_that_is_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = front(capsys, tmp_path)
    assert code == 3
    assert "is not a run directory" in err


def test_the_candidates_of_a_run_are_its_finalists_and_its_last_front(runs: dict[str, Path]) -> None:
    """Finalists alone, the best by loss, would leave out the cheap end of a front."""
    from hnas_app.fronts.runs import read_run

    finished: Any = read_run(runs["nsga2"])
    population = finished.adaption.population
    points = [(s.cost["latency"], s.loss) for s in population]
    expected = {population[i].arch for i in nondominated(points)} | {s.arch for s in finished.adaption.finalists}
    assert set(finished.candidates("latency")) == expected
    assert min(population, key=lambda s: (s.cost["latency"], s.loss)).arch in expected
