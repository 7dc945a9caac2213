"""The rules of the house, held over the whole tree: who imports whom, what loads lazily, what is never done."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOTS = {
    "hnas": ROOT / "core",
    "hnas_plugins": ROOT / "plugins",
    "hnas_backends": ROOT / "hw_backends",
    "hnas_strategies": ROOT / "search_strategies",
    "hnas_app": ROOT / "app",
}
MODULES = sorted(p for folder in ROOTS.values() for p in folder.rglob("*.py"))
OWN_CODE = [
    *MODULES,
    *sorted(p for folder in ("examples", "benchmarks", "experiments") for p in (ROOT / folder).rglob("*.py")),
]
MAX_LINES = 400
HEAVY = {"torch", "matplotlib", "scalesim", "pymoo", "ray", "onnxruntime"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (module, names) of every import of a file, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or "", tuple(alias.name for alias in node.names)


def where(path: Path, node: ast.AST | None = None) -> str:
    return str(path.relative_to(ROOT)) + (f":{node.lineno}" if isinstance(node, ast.expr | ast.stmt) else "")


def test_every_root_holds_its_package():
    """The checks below would pass on an empty list of files."""
    assert {p.relative_to(ROOT).parts[1] for p in MODULES} == set(ROOTS)
    assert len(MODULES) > 50


@pytest.mark.parametrize("package", ROOTS)
def test_imports_go_one_way(package):
    """The core knows no plugin; the three others know the core, and not each other."""
    forbidden = set(ROOTS) - {package, "hnas"} if package != "hnas" else set(ROOTS) - {"hnas"}
    wrong = [
        f"{where(path)}: {module}"
        for path in sorted(ROOTS[package].rglob("*.py"))
        for module, _ in imports(path)
        if module.partition(".")[0] in forbidden
    ]
    assert wrong == []


def test_the_core_names_no_plugin_module_either():
    """A string such as "package.module:Class" would be an import by another road."""
    plugin = re.compile(rf"({'|'.join(set(ROOTS) - {'hnas'})})[.:][\w.:]*")
    wrong = [
        f"{where(path, node)}: {node.value!r}"
        for path in sorted(ROOTS["hnas"].rglob("*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and plugin.fullmatch(node.value)
    ]
    assert wrong == []


def test_built_ins_use_only_what_third_parties_may_use():
    """Nothing private of the core, and nothing of its command line."""
    wrong = [
        f"{where(path)}: from {module} import {', '.join(names)}"
        for path in MODULES
        if not path.is_relative_to(ROOTS["hnas"])
        for module, names in imports(path)
        if module.partition(".")[0] == "hnas"
        and (module.startswith("hnas_app.cli") or any(n.startswith("_") for n in (*module.split("."), *names)))
    ]
    assert wrong == []


HOOKS = sorted(p.value for p in entry_points(group="hnas") if p.dist is not None and p.dist.name == "hnas")


def test_all_five_hook_modules_are_registered():
    assert len(HOOKS) == 5


@pytest.mark.parametrize("code", ["import hnas", "import hnas_app.cli", *(f"import {m}" for m in HOOKS)])
def test_importing_it_loads_nothing_heavy(code):
    """`hnas --help` would take seconds, and a listing would need every backend's packages."""
    told = f"{code}\nimport sys; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_heavy():
    told = f"import sys, hnas_app.cli; hnas_app.cli.run(['--help']); print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_wheel_holds_all_four_packages_typed(tmp_path):
    """A type checker, the kernels' compiler or a data table would miss what the wheel leaves out."""
    source = tmp_path / "source"
    skipped = shutil.ignore_patterns(".*", "__pycache__", "runs", "tests", "benchmarks")
    shutil.copytree(ROOT, source, ignore=skipped)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("hnas-*-py3-none-any.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package}/py.typed" for package in ROOTS} <= held
    files = (p for folder in ROOTS.values() for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    expected = {str(Path(*p.relative_to(ROOT).parts[1:])) for p in files}
    assert expected - held == set()
    assert {n.partition("/")[0] for n in held if ".dist-info" not in n} == set(ROOTS)


def test_no_module_is_long():
    """One idea a module; 50-250 lines is the habit."""
    lengths = {where(p): len(p.read_text(encoding="utf-8").splitlines()) for p in OWN_CODE}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_every_module_has_a_docstring():
    assert [where(p) for p in OWN_CODE if not ast.get_docstring(tree(p))] == []


UNPICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput"}


def test_nothing_is_unpickled_and_no_shell_gets_a_string():
    """A run directory, a data set or a configuration from elsewhere must not be able to run code."""
    wrong = []
    for path in OWN_CODE:
        wrong += [f"{where(path)}: imports {m}" for m, _ in imports(path) if m.partition(".")[0] in UNPICKLING]
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in SHELL or called in ("torch.load", "torch.jit.load", "eval", "exec"):
                wrong.append(f"{where(path, node)}: calls {called}")
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in ("shell", "allow_pickle") and not off:
                    wrong.append(f"{where(path, node)}: {called}(…, {keyword.arg}={ast.unparse(keyword.value)})")
    assert wrong == []


@pytest.fixture(scope="module")
def tracked() -> dict[str, str]:
    """Every tracked text file by name. Skipped outside a checkout, such as in an unpacked archive."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
            pytest.fail("git, or the checkout's .git, is missing, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
        pytest.skip("not a git checkout, so there is no list of tracked files")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {}
    for name in filter(None, listed.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in content:
            files[name] = content.decode("utf-8")
    return files


def found(pattern: str, tracked: dict[str, str]) -> list[str]:
    return [f"{name}: {hit[0]!r}" for name, text in tracked.items() for hit in re.finditer(pattern, text)]


def test_no_path_of_one_machine_is_tracked(tracked):
    """What works only where it was written: absolute paths into homes (but that of "me"), mounts and work folders."""
    assert found(r"(?<![\w.~$}{:/-])/(?:home(?!/me/)|mnt|opt|root|scratch|srv|work|Users)/\w[\w./-]*", tracked) == []
    assert [name for name, text in tracked.items() if str(ROOT) in text] == []


def test_no_package_index_is_named(tracked):
    """Where packages come from is each machine's own setting; a mirror's name in the tree would override it."""
    options = r"--(?:extra-)?index-ur[l]|--find-link[s]|--trusted-hos[t]|PIP_(?:EXTRA_)?INDEX_UR[L]"
    hosts = r"pypi\.or[g]|pythonhosted\.or[g]|download\.pytorch\.or[g]|registry\.npmjs\.or[g]"
    assert found(f"{options}|{hosts}", tracked) == []
