"""`hnas plugins new`: what it writes, what it refuses, and that it installs, passes its tests and runs unchanged."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hnas
from hnas import ConfigError
from hnas.discovery import KINDS
from hnas_app.cli import run
from hnas_app.plugin_tools.check import PREFIX
from hnas_app.plugin_tools.projects import Project

NAMES = {"space": "small", "learner": "first-order", "backend": "my-board", "strategy": "ageing", "tasks": "blobs"}
TINY = {
    "task.n_way": 2,
    "learner.inner_steps": 1,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "meta_train.n_query": 2,
    "meta_train.validate_tasks": 2,
    "search.tasks": 2,
    "search.pool": 4,
    "search.n_query": 2,
    "search.final_tasks": 2,
    "strategy.population": 4,
    "strategy.iterations": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 2,
    "retrain.tasks": 2,
    "retrain.n_query": 2,
    "evaluate.tasks": 4,
    "evaluate.n_query": 2,
}


# ---------------------------------------------------------------- what is written and refused


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_is_complete(kind):
    project = Project(kind=kind, name="my_own")
    files = project.files()
    package = f"hnas_{kind}_my_own"
    assert project.distribution == f"{PREFIX[kind]}my-own"
    written = {".gitignore", "README.md", "pyproject.toml", f"tests/test_{kind}.py"}
    written |= {f"src/{package}/{name}" for name in ("__init__.py", "py.typed", f"{kind}.py")}
    assert written <= set(files)
    assert f'my-own = "{package}"' in files["pyproject.toml"]
    assert f'"hnas>={hnas.__version__}"' in files["pyproject.toml"]
    for place, text in files.items():
        assert "$" not in text, f"{place} has a placeholder left"
        if place.endswith(".py"):
            compile(text, place, "exec")


def test_the_command_writes_it_and_names_the_next_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["plugins", "new", "backend", "my_board"]) == 0
    told = capsys.readouterr()
    assert "hnas-backend-my-board/pyproject.toml" in told.out.splitlines()
    assert told.err == "next: pip install -e hnas-backend-my-board && hnas plugins check my-board\n"
    for line in told.out.splitlines():
        assert Path(line).is_file()


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["plugins", "new", "backend", "my-board", "--out", str(tmp_path)]) == 3
    assert "nothing in it is overwritten" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert run(["plugins", "new", "backend", "my-board", "--out", str(tmp_path / "empty")]) == 0


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        ("backends x", 2, ["'backends' is not one of", "Did you mean 'backend'?"]),
        ("backend MyBoard", 3, ["backend name 'MyBoard': expected lower-case letters", "hint: such as 'myboard'"]),
        ("backend 2fast", 3, ["backend name '2fast'", "hint: such as 'fast'"]),
        ("backend a--b", 3, ["hint: such as 'a-b'"]),
        ("backend ../x", 3, ["hint: such as 'x'"]),
        ("backend hnas-backend-x", 3, ["begins as its distribution will", "hint: write 'x'"]),
        (f"backend {'x' * 41}", 3, ["at most 40"]),
        ("backend hardware", 3, ["its class would be called HardwareBackend, as the interface is"]),
        ("backend eyeriss_rs", 4, ["backend 'eyeriss-rs' is built in", "hint: choose a name of your own"]),
        ("strategy random", 4, ["strategy 'random' is built in"]),
    ],
)
def test_a_name_that_is_no_good_is_refused_and_nothing_is_written(words, code, parts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["plugins", "new", *words.split()]) == code
    told = capsys.readouterr().err
    for part in parts:
        assert part in told
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_another_kind_is_free():
    """`random` is a strategy; a backend may be called so."""
    assert Project(kind="backend", name="random").class_name == "RandomBackend"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        Project(kind="space", name="small").write(tmp_path / "file" / "project")


def test_the_backend_that_is_written_is_the_one_of_the_page():
    """Whoever began in a file, as the page shows, moves the class's body into the project without an edit."""

    def body(source: str) -> list[str]:
        (cls,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
        return [ast.unparse(node) for node in cls.body[1:]]  # all but its docstring

    written = Project(kind="backend", name="my-board").files()["src/hnas_backend_my_board/backend.py"]
    example = Path(__file__).resolve().parents[3] / "examples" / "custom_backend.py"
    assert body(written) == body(example.read_text())


# ---------------------------------------------------------------- what is written works


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("projects")
    made = {kind: root / f"hnas-{kind}-{name}" for kind, name in NAMES.items()}
    for kind, folder in made.items():
        assert run(["plugins", "new", kind, NAMES[kind], "--out", str(folder)]) == 0
    return made


@pytest.fixture(scope="module")
def venv(make_venv, projects):
    """An environment in which all five are installed, as they were written."""
    return make_venv(*projects.values())


def _tool(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{name} is missing, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
        pytest.skip(f"{name} is not installed; `make lint` installs it")


def test_what_is_written_is_formatted_and_clean(projects):
    _tool("ruff")
    rules = ["--isolated", "--line-length", "120"]
    for folder in projects.values():
        for words in (["format", "--check", *rules], ["check", *rules, "--select", "E,F,I,B,UP,SIM,RUF,PT"]):
            done = subprocess.run([sys.executable, "-m", "ruff", *words], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_is_written_has_types(projects, venv, tmp_path):
    _tool("mypy")
    folders = [str(folder / part) for folder in projects.values() for part in ("src", "tests")]
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(venv.python), *folders]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_tests_pass(kind, projects, venv):
    done = subprocess.run([venv.python, "-m", "pytest", "-q"], cwd=projects[kind], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_its_tests_notice_what_is_broken(projects, venv, tmp_path):
    """Else they would be worth nothing to whoever replaces the implementation."""
    copy = shutil.copytree(projects["backend"], tmp_path / "copy")
    module = copy / "src" / "hnas_backend_my_board" / "backend.py"
    broken = module.read_text().replace("settings=asdict(self.options),", "")
    assert broken != module.read_text()
    module.write_text(broken)
    env = {**os.environ, "PYTHONPATH": str(copy / "src")}
    done = subprocess.run([venv.python, "-m", "pytest", "-q"], cwd=copy, capture_output=True, text=True, env=env)
    assert done.returncode == 1, done.stdout[-3000:]
    assert "put gmacs into DeviceInfo.settings" in done.stdout


@pytest.mark.slow
def test_it_is_listed_and_passes_the_check(venv, tmp_path):
    listed = json.loads(venv.hnas("plugins", "list", "--json", cwd=tmp_path).stdout)
    assert {r["kind"]: r["use"] for r in listed if r["distribution"] != "hnas"} == NAMES
    done = venv.hnas("plugins", "check", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checked = {r["kind"]: r for r in json.loads(done.stdout)}
    assert set(checked) == set(KINDS)
    for result in checked.values():
        assert {f["level"] for f in result["findings"]} == {"ok"}
        assert result["findings"][-1]["check"] == "conformance"


@pytest.mark.slow
@pytest.mark.parametrize("own", [set(KINDS), {"space", "backend", "tasks"}, {"learner", "strategy"}], ids=len)
def test_a_run_works_with_it(own, venv, tmp_path):
    """All five together, and each beside built-in ones."""
    words = [word for kind in sorted(own) for word in (f"--{kind}", NAMES[kind])]
    settings = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    settings += [] if "space" in own else ["--set", "space.base_width=4"]
    limits = ["--constraint", "latency<=1ref" + (",memory<=30KiB" if "backend" in own else "")]
    done = venv.hnas("run", "--preset", "none", *words, *limits, *settings, "--workers", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found, reference = json.loads(done.stdout)["networks"][:2]
    assert 0 < found["cost"]["values"]["latency"] <= reference["cost"]["values"]["latency"]
    assert found["cost"]["values"].get("memory", 0) <= 30
