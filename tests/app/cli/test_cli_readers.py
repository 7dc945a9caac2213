"""Commands that read: plugins, spaces, config and runs; what they print, as text and as JSON, and what comes next."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from hnas.discovery import Registry
from hnas_app.cli import run
from hnas_app.cli.options import folder_of, run_path
from hnas_app.cli.output import print_in_parts, print_text
from hnas_app.config.load import load_config
from hnas_app.config.schema import Config
from hnas_app.runs.run_dir import PHASES, RunDir


@pytest.fixture
def hnas(capsys, tmp_path, monkeypatch):
    """Run a command that must succeed, in an empty folder; return what it printed on each stream."""
    monkeypatch.chdir(tmp_path)

    def call(*command: str) -> tuple[str, str]:
        code = run(command)
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out, told.err

    return call


@pytest.fixture
def as_json(hnas):
    def call(*command: str):
        out, err = hnas(*command, "--json")
        assert "next:" not in out + err
        return json.loads(out)

    return call


# ---------------------------------------------------------------- spaces


def test_the_reference_network_has_the_papers_size(as_json):
    """Golden numbers of the MAML++ network on Mini-ImageNet: 70.09K parameters and 57.38M MACs in the paper."""
    found = as_json("spaces", "show", "vgg9", "--arch", "maml++", "--input", "3x84x84", "--n-way", "5")
    assert (found["params"], found["macs"]) == (70085, 57382512)
    assert (found["size_printed"], found["size_true"]) == (1008189504, 254063754)
    assert found["options"]["downsample"] == "pool"
    assert sum(layer["params"] for layer in found["layers"]) == 70085
    conv = found["layers"][0]
    assert (conv["op"], conv["in_shape"], conv["out_shape"], conv["kernel"]) == ("conv2d", [3, 84, 84], [48, 84, 84], 3)
    assert conv["key"].startswith("conv2d-3x84x84-48x84x84-k3s1")


def test_what_a_user_sets_wins_over_the_reference_networks_own_options(as_json):
    command = ("spaces", "show", "vgg9", "--arch", "maml++", "--input", "3x84x84")
    found = as_json(*command, "--set", "space.downsample=stride")
    assert found["options"]["downsample"] == "stride"
    assert found["params"] == 70085
    assert found["macs"] < 57382512 / 3


@pytest.mark.parametrize(
    ("switches", "size"),
    [(["space.ge=false"], 111150), (["space.anl=false"], 252047376), ([], 254063754)],
)
def test_the_switches_of_table_2_change_the_size(as_json, switches, size):
    sets = [part for switch in switches for part in ("--set", switch)]
    assert as_json("spaces", "show", "vgg9", *sets)["size_true"] == size


def test_a_network_may_be_given_by_genes_or_by_choices(as_json):
    command = ("spaces", "show", "vgg9", "--input", "1x28x28", "--arch")
    by_name = as_json(*command, "maml++-omniglot", "--set", "space.downsample=stride", "--set", "space.pool=1")
    by_record = as_json(*command, json.dumps(by_name["architecture"]))
    by_genes = as_json(*command, json.dumps(by_name["architecture"]["genes"]))
    by_choice = as_json(*command, ",".join(f"{k}={v}" for k, v in by_name["network"].items()))
    assert by_record["layers"] == by_genes["layers"] == by_choice["layers"] == by_name["layers"]


@pytest.mark.parametrize(
    "arch", ["[1,2", "[99]", '{"space": "other", "genes": [0]}', "kernel1=4", "kernle1=3", "maml+"]
)
def test_a_network_that_is_not_in_the_space_is_refused(arch, capsys):
    assert run(["spaces", "show", "vgg9", "--arch", arch]) == 3
    assert capsys.readouterr().err.startswith("error: ")


def test_text_shows_numbers_and_the_next_command(hnas):
    out, err = hnas("spaces", "show", "vgg9", "--arch", "maml++", "--input", "3x84x84")
    assert "70,085 parameters, 57,382,512 MACs" in out
    assert err.splitlines()[-1].startswith("next: hnas profile --space vgg9")
    out, err = hnas("spaces", "show", "vgg9")
    assert "254,063,754 distinct networks" in out
    assert "maml++" in out
    assert err.splitlines()[-1] == "next: hnas spaces show vgg9 --arch maml++"


# ---------------------------------------------------------------- plugins


def test_plugins_are_listed_with_their_distribution(as_json, hnas):
    found = {(p["kind"], p["name"]): p for p in as_json("plugins", "list")}
    expected = {("space", "vgg9"), ("learner", "maml++"), ("learner", "maml"), ("backend", "eyeriss")}
    assert expected | {("strategy", "genetic"), ("strategy", "random"), ("tasks", "glyphs")} <= set(found)
    assert found["space", "vgg9"]["distribution"] == "hnas"
    out, err = hnas("plugins", "list")
    assert "vgg9" in out
    assert err.splitlines()[-1] == "next: hnas plugins show NAME"


def test_failed_plugins_are_listed_with_their_cause(as_json, hnas, make_distribution):
    make_distribution("hnas-backend-broken", "raise RuntimeError('no cable')", version="0.3")
    (failure,) = as_json("plugins", "list", "--failed")
    assert failure["distribution"] == "hnas-backend-broken"
    assert failure["cause"] == "RuntimeError: no cable"
    out, _ = hnas("plugins", "list", "--failed")
    assert "hnas-backend-broken 0.3: RuntimeError: no cable" in out


def test_a_plugins_options_are_shown_with_type_default_and_help(as_json, hnas):
    (found,) = as_json("plugins", "show", "vgg9")
    options = {o["name"]: o for o in found["options"]}
    assert (options["base_width"]["type"], options["base_width"]["default"]) == ("int", "64")
    assert options["downsample"]["type"] == "one of 'stride', 'pool'"
    assert all(o["help"] for o in found["options"])
    out, err = hnas("plugins", "show", "vgg9")
    assert "space.downsample" in out
    assert "next: hnas config show --space vgg9" in err


# ---------------------------------------------------------------- config


def test_a_file_that_init_writes_is_right_and_says_the_same(hnas, as_json):
    out, err = hnas("config", "init", "--preset", "small", "--set", "seed=7")
    assert out == "wrote hnas.toml\n"
    assert err.splitlines()[-1] == "next: hnas config check hnas.toml"
    text = Path("hnas.toml").read_text()
    assert "# classes in a task" in text
    assert tomllib.loads(text)["seed"] == 7
    assert "hnas.toml is right" in hnas("config", "check")[0]
    registry = Registry(third_party=False)
    written = load_config(registry, file="hnas.toml", env={}).config
    assert written == load_config(registry, preset="small", sets=[("seed", "7")], env={}).config
    assert run(["config", "init"]) == 3  # never over a file that is there
    hnas("config", "init", "--force")
    assert tomllib.loads(Path("hnas.toml").read_text())["seed"] == 0


def test_show_tells_the_origin_of_each_value(as_json, hnas, monkeypatch):
    Path("own.toml").write_text("[task]\nk_shot = 5\n")
    monkeypatch.setenv("HNAS_WORKERS", "1")
    command = ("config", "show", "--config", "own.toml", "--seed", "3", "--set", "space.pool=5")
    found = as_json(*command, "--constraint", "params<=70K", "--data-root", "/data", "--tasks", "omniglot")
    assert found["seed"] == {"value": 3, "origin": "--seed"}
    assert found["workers"] == {"value": 1, "origin": "HNAS_WORKERS"}
    assert found["task.k_shot"] == {"value": 5, "origin": "own.toml line 2"}
    assert found["space.pool"] == {"value": 5, "origin": "--set space.pool=5"}
    assert found["constraints"] == {"value": ["params<=70K"], "origin": "--constraint"}
    assert found["tasks.root"] == {"value": "/data", "origin": "--data-root"}
    assert found["space.base_width"]["origin"] == "preset quick"
    assert found["space.ge"]["origin"] == "plugin default"
    assert found["task.n_way"]["origin"] == "default"
    out, err = hnas(*command)
    assert "seed = 3  # --seed" in out
    assert tomllib.loads(out)["task"]["k_shot"] == 5
    assert err.splitlines()[-1].startswith("next: ")


def test_options_for_another_plugin_are_noted(hnas):
    Path("own.toml").write_text('[strategy]\nname = "genetic"\nmutations = 3\n')
    _, err = hnas("config", "show", "--config", "own.toml", "--strategy", "random")
    assert "note: strategy.mutations (own.toml line 3) was given for 'genetic' and is not used with 'random'" in err


def test_all_mistakes_of_a_file_are_shown_at_once(capsys, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('backnd = "eyeriss"\n[search]\ntasks = "100"\n')
    assert run(["config", "check", str(path)]) == 3
    assert capsys.readouterr().err.splitlines() == [
        f"error: 2 mistakes in the configuration ({path}):",
        "line 1: backnd: unknown key  -> did you mean 'backend'?",
        "line 3: search.tasks: expected int, got str '100'",
    ]


def test_a_run_directory_gives_its_own_settings(as_json, tmp_path):
    config = load_config(Registry(third_party=False), env={}, sets=[("seed", "9")]).config
    made = RunDir.create(config, path=tmp_path / "run")
    found = as_json("config", "show", "--run-dir", str(made.path))
    assert found["seed"] == {"value": 9, "origin": f"{made.config_path} line 2"}


# ---------------------------------------------------------------- runs


def test_runs_are_listed_with_their_state(as_json, hnas, tmp_path):
    out, err = hnas("runs")
    assert out == "no runs in runs/\n"
    assert err.startswith("next: hnas run ")
    config = load_config(Registry(third_party=False), env={}).config
    made = RunDir.create(config, root=Path("runs"))
    made.set_phase("meta-train", "done")
    made.set_phase("profile", "running")
    out, err = hnas("runs")
    assert "profile stopped" in out
    assert "1/5" in out
    assert err == f"next: hnas run --run-dir {made.path}\n"
    (found,) = as_json("runs")
    assert found["phases"] == {"meta-train": "done", "profile": "stopped"}
    made.record_path.write_text("{")
    out, err = hnas("runs")
    assert "damaged" in out
    assert err == ""  # there is nothing to go on with


def evaluated(config: Config, path: Path) -> RunDir:
    """Make a run directory that looks evaluated."""
    made = RunDir.create(config, path=path)
    for phase in PHASES:
        made.set_phase(phase, "done")
    network = {"cost": {"values": {"latency": 0.0189}}}
    results = {"networks": [network], "metrics": [{"name": "latency", "unit": "ms"}], "limits": ["latency<=0.6ref"]}
    made.update(results={"accuracy": 0.8125, **results})
    return made


def test_a_run_is_listed_with_its_limits_and_what_it_found(as_json, hnas):
    config = load_config(Registry(third_party=False), env={}, flags={"constraints": ["params<=70K"]}).config
    done = evaluated(config, Path("runs/20260102-030405-vgg9-eyeriss-abc123"))
    begun = RunDir.create(config, path=Path("runs/second"))
    begun.update(found={"metric": "latency_ms", "cost": 2.5})
    (done.path / "pictures.json").write_text('{"root": "cats"}')
    out, err = hnas("runs")
    head, *rows = [line.split("  ") for line in out.splitlines()]
    cells = {row[0]: [c.strip() for c in row if c.strip()] for row in rows}
    assert head[0] == "RUN"
    assert cells[str(done.path)][2:] == ["vgg9", "eyeriss", "latency<=0.6ref", "18.9 µs", "81.25 %", "done 5/5", "cats"]
    assert cells["runs/second"][2:] == ["vgg9", "eyeriss", "params<=70K", "2.5 ms", "new 0/5"]
    assert err == "next: hnas run --run-dir runs/second\n"
    assert [r["limits"] for r in as_json("runs")] == [["latency<=0.6ref"], ["params<=70K"]]


def test_the_list_fits_80_columns_and_commands_take_its_short_names(hnas, monkeypatch):
    config = load_config(Registry(third_party=False), env={}, flags={"constraints": ["params<=70K", "macs<=2M"]}).config
    made = evaluated(config, Path("runs/20260102-030405-vgg9-eyeriss-abc123"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    out, err = hnas("runs")
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines()[1].startswith("abc123  ")
    monkeypatch.setenv("COLUMNS", "60")
    narrow, _ = hnas("runs")
    assert max(map(len, narrow.splitlines())) <= 60
    assert narrow.splitlines()[1].startswith("abc123  ")  # it would be no name of a run any more
    assert err == f"next: hnas evaluate {made.path}\n"  # nothing is left to go on with
    for name in ("abc123", made.path.name, str(made.path)):
        assert run_path(name) == made.path
    assert run_path("abc") == Path("abc")


def test_sentences_are_broken_between_words_on_a_terminal_only(capsys, monkeypatch):
    path = "runs/20260102-030405-vgg9-eyeriss-abc123/pareto.png"
    text = f"one sentence about a network that was re-trained\n{path}"
    monkeypatch.setenv("COLUMNS", "30")
    print_text(text)
    assert capsys.readouterr().out == f"{text}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_text(text)
    assert capsys.readouterr().out == f"one sentence about a network\nthat was re-trained\n{path}\n"


def test_a_table_of_numbers_is_never_cut_but_continued_below(capsys, monkeypatch):
    head = ["network", "latency_µs", "macs", "re-trained"]
    rows = [["found", "18.9", "145,560", "40.67 ± 5.78 %"], ["nearest class mean", "", "", "50.33 ± 7.90 %"]]
    print_in_parts(head, rows)
    whole = capsys.readouterr().out
    assert len(whole.splitlines()) == 3
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for width, n_parts in ((60, 1), (52, 2), (40, 3), (34, 3)):
        monkeypatch.setenv("COLUMNS", str(width))
        print_in_parts(head, rows)
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= width
        assert out.count("network") == n_parts
        assert all(cell in out for row in [head, *rows] for cell in row)
    monkeypatch.setenv("COLUMNS", "100")
    print_in_parts(head, rows)
    assert capsys.readouterr().out == whole


def test_runs_are_removed_by_name_and_only_runs(hnas, capsys):
    config = load_config(Registry(third_party=False), env={}).config
    first, second = (RunDir.create(config, path=Path("runs") / name) for name in ("first", "second"))
    Path("mine").mkdir()
    with second.lock():
        assert run(["runs", "rm", "second", "--yes"]) == 3
    assert "is in use by process" in capsys.readouterr().err
    assert run(["runs", "rm", "second"]) == 3  # nobody to ask
    assert run(["runs", "rm", "first", "mine", "--yes"]) == 3
    assert "mine is not a run directory" in capsys.readouterr().err
    assert first.path.is_dir()
    hnas("runs", "rm", "first", "--yes")
    assert not first.path.exists()
    assert second.path.is_dir()


def test_a_sweep_is_removed_as_a_whole(hnas, capsys):
    config = load_config(Registry(third_party=False), env={}).config
    pair = RunDir.create(config, path=Path("runs/sweep/01-x86"))
    Path("runs/sweep/sweep.json").write_text("{}")
    assert run(["runs", "rm", str(pair.path), "--yes"]) == 3
    assert "hnas runs rm runs/sweep" in capsys.readouterr().err
    hnas("runs", "rm", "sweep", "--yes")
    assert not Path("runs/sweep").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "-x", ""])
def test_a_name_of_a_run_is_one_folder(name, capsys):
    assert run(["run", "--name", name] if name != "-x" else ["run", f"--name={name}"]) == 2
    assert "is not a name" in capsys.readouterr().err


def test_a_name_takes_the_place_of_a_run_directory(capsys):
    assert folder_of(None, "first") == Path("runs/first")
    assert folder_of(Path("there"), None) == Path("there")
    assert run(["meta-train", "--name", "first", "--run-dir", "there"]) == 2
    assert "takes the place of --run-dir" in capsys.readouterr().err
