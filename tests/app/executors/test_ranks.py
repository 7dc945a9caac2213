"""Meta-training by several ranks, with a real torchrun and gloo: the same gradient, and the same end after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import rank_gradient
import torch
from PIL import Image
from safetensors.torch import load_file

from hnas.discovery import Registry
from hnas.errors import ConfigError
from hnas_app import cli
from hnas_app.config.schema import Config
from hnas_app.executors import this_rank as ranks
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.rank_group import dealt, meet
from hnas_app.usecases.ranks import joined

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
TINY = {
    "space.base_width": 4,
    "task.n_way": 2,
    "learner.inner_steps": 2,
    "learner.first_order_epochs": 1,
    "meta_train.epochs": 2,
    "meta_train.iterations": 12,
    "meta_train.tasks": 3,
    "meta_train.sampling": "attentive",
    "meta_train.architectures": 2,
    "meta_train.validate_every": 1,
    "meta_train.validate_tasks": 5,
}
# A checkpoint after every iteration, and the process of each rank and start in a file.
PROGRAM = """
import os, pathlib
import hnas_app.training.outer_loop as t
from hnas_app.cli import main
t.CHECKPOINT_SECONDS = t.REPORT_SECONDS = 0
folder = pathlib.Path(os.environ["TEST_PIDS"])
(folder / f"{os.environ['RANK']}.{os.environ['TORCHELASTIC_RESTART_COUNT']}").write_text(str(os.getpid()))
main()
"""


def torchrun(*command: str, n: int = 2, **environment: str) -> subprocess.Popen[str]:
    loopback = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(
        [*TORCHRUN, "--nproc-per-node", str(n), *command],
        env={**os.environ, **loopback, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def meta_train(run: Path, pids: Path, *options: str, restarts: int = 0, text: str = PROGRAM) -> subprocess.Popen[str]:
    pids.mkdir()
    program = pids / "program.py"
    program.write_text(text)
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    command = ["meta-train", "--preset", "none", "--run-dir", str(run), *settings, *options]
    # looked at often, or a restart would be noticed after a quarter of the training only
    often = ["--max-restarts", str(restarts), "--monitor-interval", "0.1"]
    return torchrun(*often, str(program), *command, TEST_PIDS=str(pids))


def steps(run: Path) -> int:
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return sum(json.loads(line)["kind"] == "step" for line in lines if line.endswith("}"))


def wait_for_steps(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        if steps(run) >= count:
            return
        time.sleep(0.005)
    process.kill()
    raise AssertionError(f"ended (code {process.poll()}) before step {count}: {process.communicate()[1]}")


def final_state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "meta-train" / "state-00000024.safetensors")


def test_items_are_dealt_to_and_fro() -> None:
    """Sorted by length: of 24, 12 and 12 one rank gets the first, the other both others."""
    assert dealt(3, 2) == [[0], [1, 2]]
    assert dealt(7, 3) == [[0, 5, 6], [1, 4], [2, 3]]
    assert dealt(1, 3) == [[0], [], []]


@pytest.mark.slow
def test_two_ranks_give_the_meta_gradient_of_one(tmp_path: Path) -> None:
    """To the last bit, with the same parts and with one part each."""
    script = Path(rank_gradient.__file__)
    process = torchrun(str(script), str(tmp_path))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "rank 0 of 2" in output
    assert "rank 1 of 2" in output
    with InProcess() as here:
        found, scores = rank_gradient.gradient(here, 2)
        whole, _ = rank_gradient.gradient(here, 1)
    assert len(scores) == 3, "3 parts for 2 ranks: shares that are not even"
    for rank in (0, 1):
        gradient = load_file(tmp_path / f"rank{rank}.safetensors")
        assert gradient.pop("scores").tolist() == [list(s) for s in scores]
        assert gradient.keys() == found.keys() == whole.keys()
        for name, value in gradient.items():
            assert value.dtype == torch.float64
            assert torch.equal(value, found[name]), name
            assert torch.equal(value, whole[name]), name
    both = [load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0]), "ranks would drift apart"


@pytest.mark.slow
def test_a_rank_that_is_killed_changes_nothing(tmp_path: Path) -> None:
    """Bitwise, whichever rank it is; and close to what one process learns in its place."""
    untouched = meta_train(tmp_path / "untouched", tmp_path / "untouched-pids")
    output, errors = untouched.communicate(timeout=600)
    assert untouched.returncode == 0, errors
    assert output.count("super-net:") == 1, "rank 0 alone prints"
    expected = final_state(tmp_path / "untouched")
    for rank in (1, 0):
        run, pids = tmp_path / f"killed{rank}", tmp_path / f"killed{rank}-pids"
        process = meta_train(run, pids, restarts=2)
        wait_for_steps(run, 5, process)
        os.kill(int((pids / f"{rank}.0").read_text()), signal.SIGKILL)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert (pids / f"{rank}.1").exists(), "nothing was started again"
        state = final_state(run)
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)
        record = json.loads((run / "run.json").read_text())
        assert record["phases"]["meta-train"]["state"] == "done"


@pytest.mark.slow
def test_ranks_that_are_told_to_end_save_what_they_did(tmp_path: Path) -> None:
    """torchrun passes SIGTERM on to all of them; no checkpoint was due."""
    process = meta_train(
        tmp_path / "run",
        tmp_path / "pids",
        text=PROGRAM.replace("= t.REPORT_SECONDS = 0", "= 1e9; t.REPORT_SECONDS = 0"),
    )
    wait_for_steps(tmp_path / "run", 4, process)
    told = steps(tmp_path / "run")
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert "to go on: hnas meta-train --run-dir" in errors
    (saved,) = (tmp_path / "run" / "checkpoints" / "meta-train").glob("state-*.json")
    assert 4 <= told <= int(saved.stem.split("-")[1]) < 24
    pids = [int(file.read_text()) for file in (tmp_path / "pids").glob("*.0")]
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    again = meta_train(tmp_path / "run", tmp_path / "again")
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert f"going on from {int(saved.stem.split('-')[1])}" in errors


@pytest.mark.slow
def test_ranks_train_what_one_process_trains(tmp_path: Path) -> None:
    """To the last bit; and a run that is done is left as it is, by all ranks."""
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    common = ["meta-train", "--preset", "none", *settings, "--seed", "3"]
    one, two = tmp_path / "one", tmp_path / "two"
    alone = subprocess.run(
        [sys.executable, "-m", "hnas", *common, "--workers", "1", "--run-dir", str(one)], capture_output=True, text=True
    )
    assert alone.returncode == 0, alone.stderr
    for _ in range(2):
        process = torchrun("-m", "hnas", *common, "--run-dir", str(two))
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    expected, state = final_state(one), final_state(two)
    assert state.keys() == expected.keys()
    for name, value in state.items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.slow
def test_ranks_with_other_data_are_refused(tmp_path: Path) -> None:
    """On each machine the data may be in another folder, but must be the same."""
    for rank in range(2):
        for label in range(6):
            folder = tmp_path / str(rank) / f"class {label + rank}"
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), (40 * label, 0, 0)).save(folder / "0.png")
    program = tmp_path / "program.py"
    own = f"sys.argv += ['--data-root', {str(tmp_path)!r} + '/' + os.environ['RANK']]"
    program.write_text(f"import os, sys; {own}; from hnas_app.cli import main; main()")
    process = torchrun(str(program), "meta-train", "--tasks", "folder", "--run-dir", str(tmp_path / "run"))
    _, errors = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "have different classes in their data" in errors
    assert not (tmp_path / "run").exists()


def test_ranks_do_not_meet_the_dead_of_an_earlier_start() -> None:
    """torchrun's store outlives them; with gloo alone one restart in two waited for an address of the last start."""
    import torch.distributed as dist

    store = dist.HashStore()
    names = []
    for late in (0, 1, 2, 0):  # who comes last: by then the others have seen what is old
        with ThreadPoolExecutor(3) as pool:
            futures = {r: pool.submit(meet, store, r, 3, 20.0) for r in range(3) if r != late}
            time.sleep(0.2)
            assert not any(f.done() for f in futures.values()), "went on before all were there"
            futures[late] = pool.submit(meet, store, late, 3, 20.0)
            (name,) = {f.result() for f in futures.values()}
        names.append(name)
    assert len(set(names)) == 4
    with pytest.raises(RuntimeError, match="waited too long"):
        meet(store, 1, 3, 0.1)


@pytest.fixture
def under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that torchrun gives the first of two ranks."""
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("under_torchrun")
@pytest.mark.parametrize("command", [["run"], ["adapt", "somewhere"]])
def test_a_search_under_torchrun_is_refused(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each rank would search for itself, and all would write into one directory."""
    monkeypatch.chdir(tmp_path)
    assert cli.run([*command, "--set", "space.base_width=4"]) == 3
    told = capsys.readouterr().err
    assert f"error: torchrun is for meta-train; {command[0]} is one process" in told
    assert "--executor ray" in told
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("under_torchrun")
def test_ranks_need_a_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run without a name would be started again from nothing, each time a rank dies."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(["meta-train"]) == 3
    assert "needs --run-dir" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("under_torchrun")
def test_ranks_do_not_each_drive_a_cluster(tmp_path: Path) -> None:
    """They would share out what the others share out as well."""
    with (
        pytest.raises(ConfigError, match="exclude each other"),
        joined(Config(executor="ray"), "meta-train", tmp_path, Registry()),
    ):
        pass


@pytest.mark.usefixtures("under_torchrun")
def test_each_rank_of_a_machine_has_a_gpu_of_its_own() -> None:
    """All on the first one would be slower than one rank."""
    assert ranks.own_accelerator("cuda") == "cuda:1"
    assert ranks.own_accelerator("cpu") == "cpu"
    with pytest.raises(ConfigError, match="every rank has a GPU of its own"):
        ranks.own_accelerator("cuda:0")


def test_without_torchrun_there_is_one_process_that_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """RANK alone is set by other programs as well."""
    monkeypatch.setenv("RANK", "1")
    assert ranks.leads()
    assert ranks.own_accelerator("cuda:1") == "cuda:1"
