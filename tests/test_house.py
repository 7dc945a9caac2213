"""The rules of the house, held over the whole tree: who imports whom, what loads lazily, what is never done."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hnas.discovery import Registry

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


LAYERS = (
    *("cli", "usecases", "testing", "plugin_tools", "own_task", "export", "report", "sweeps", "fronts"),
    *("supernets", "runs", "search", "trackers", "training", "config", "costs", "executors"),
)
"""The folders of the application: each may import those behind it."""
DOORS = {"core/hnas/__init__.py", "core/hnas/__main__.py", "core/hnas/testing/__init__.py"}
"""Modules of the core that lead to the application: lazily, so that importing one imports nothing of it."""


def module_name(path: Path) -> str:
    """Return the name by which a module is imported."""
    root = next(folder for folder in ROOTS.values() if path.is_relative_to(folder))
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


BY_NAME = {module_name(path): path for path in MODULES}


def edges(path: Path) -> Iterator[str]:
    """Yield the names of the modules that a module depends on, by "module:Name" strings too."""
    for module, names in imports(path):
        below = [f"{module}.{name}" for name in names if f"{module}.{name}" in BY_NAME]
        yield from below or [module]
        yield from [module] if len(below) < len(names) else []
    for node in ast.walk(tree(path)):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(r"hnas\w*(\.\w+)+:\w+", text):
            yield text.partition(":")[0]


def test_every_root_holds_its_package():
    """The checks below would pass on an empty list of files."""
    assert {p.relative_to(ROOT).parts[1] for p in MODULES} == set(ROOTS)
    assert len(MODULES) > 50


@pytest.mark.parametrize("package", ROOTS)
def test_imports_go_one_way(package):
    """The core knows nobody but by its doors; the others know the core, and not each other."""
    wrong = [
        f"{where(path)}: {module}"
        for path in sorted(ROOTS[package].rglob("*.py"))
        for module in edges(path)
        if module.partition(".")[0] in set(ROOTS) - {package, "hnas"} and where(path) not in DOORS
    ]
    assert wrong == []


def test_examples_import_what_users_may_import():
    """Readers copy them: what is not public in an example is relied on by everyone."""
    paths = sorted((ROOT / "examples").rglob("*.py"))
    wrong = [f"{where(p)}: {m}" for p in paths for m, _ in imports(p) if m.partition(".")[0] in set(ROOTS) - {"hnas"}]
    assert paths
    assert wrong == []


def test_the_doors_lead_to_the_application_only():
    led = {module.partition(".")[0] for name in DOORS for module in edges(ROOT / name)}
    assert led & set(ROOTS) == {"hnas", "hnas_app"}


@pytest.mark.parametrize("door", ["hnas", "hnas.testing"])
def test_a_door_opens_when_it_is_used(door):
    """Each plugin would import the application, and with it everything."""
    told = f"import sys, {door}; print(sorted(m for m in sys.modules if m.startswith('hnas_')))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_application_has_layers():
    """Each folder of it imports those below; what points upward makes two folders one."""
    wrong = []
    for name, path in BY_NAME.items():
        package, _, rest = name.partition(".")
        if package != "hnas_app" or not rest:
            continue
        own = LAYERS.index(rest.partition(".")[0])
        for module in edges(path):
            other = module.partition(".")[2].partition(".")[0]
            if module.startswith("hnas_app.") and LAYERS.index(other) < own:
                wrong.append(f"{where(path)}: {module}")
    assert wrong == []


BUILT_INS = {r.plugin.name for r in Registry(third_party=False).list()}
ORDINARY = {"base", "folder", "gradient", "pictures", "random", "table"}
"""Names of built-in plugins that are words of the language, too: sentences and variables may have them."""


def test_the_core_names_no_built_in_plugin():
    """Built-in plugins are plugins like any other; docstrings may name them, as they do papers."""
    words = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, BUILT_INS - ORDINARY))})(?![\w-])")
    wrong = []
    for path in sorted(ROOTS["hnas"].rglob("*.py")):
        docs = {id(n.value) for n in ast.walk(tree(path)) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree(path)):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in docs else None
            if isinstance(text, str) and (text in BUILT_INS or words.search(text)):
                wrong.append(f"{where(path, node)}: {text!r}")
            names = {getattr(node, key, None) for key in ("id", "attr", "name", "arg")}
            wrong += [f"{where(path, node)}: {name}" for name in names & (BUILT_INS - ORDINARY)]
    assert wrong == []


def test_no_modules_import_each_other():
    """Neither could be read, tested or moved without the other; lazy imports and those for types count as well."""
    graph = {n: sorted({m for m in edges(p) if m in BY_NAME and m != n}) for n, p in BY_NAME.items()}
    for name in DOORS:
        graph[module_name(ROOT / name)] = []
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]), pytrace=False)


def test_no_folder_is_crowded():
    """A stranger cannot find a module among dozens; `core/hnas` had 77."""
    counts = Counter(where(path.parent) for path in MODULES)
    assert {folder: n for folder, n in counts.items() if n > 15} == {}


def test_the_core_is_small():
    """It is what plugin authors read; what only the application needs lives there."""
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in ROOTS["hnas"].rglob("*.py")) <= 3990


def test_nobody_uses_what_is_private_in_the_core():
    """Built-ins have no more than third parties have, and neither has the application."""
    wrong = [
        f"{where(path)}: from {module} import {', '.join(names)}"
        for path in MODULES
        if not path.is_relative_to(ROOTS["hnas"])
        for module, names in imports(path)
        if module.partition(".")[0] == "hnas"
        and any(n.startswith("_") and n not in ("_version", "__version__") for n in (*module.split("."), *names))
    ]
    assert wrong == []


HOOKS = sorted(p.value for p in entry_points(group="hnas") if p.dist is not None and p.dist.name == "hnas")


def test_all_six_hook_modules_are_registered():
    assert len(HOOKS) == 6


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


def test_the_wheel_holds_all_five_packages_typed(tmp_path):
    """A type checker, the kernels' compiler or a data table would miss what the wheel leaves out."""
    source = tmp_path / "source"
    skipped = shutil.ignore_patterns(".*", "__pycache__", "tests", "benchmarks")
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


def test_an_activation_is_named_in_three_files():
    """Who adds one would have to find every other place; `relu` and `elu` are also in reference networks and tests."""
    named = re.compile(r"selu|sigmoid|relu6|leaky_?relu", re.IGNORECASE)
    code = [p for folder in ROOTS.values() for kind in ("py", "c", "h") for p in folder.rglob(f"*.{kind}")]
    assert sorted(where(p) for p in code if named.search(p.read_text(encoding="utf-8"))) == [
        "core/hnas/toolkit/activations.py",
        "hw_backends/hnas_backends/layerbench/activations.h",
        "plugins/hnas_plugins/engine/activations.h",
    ]


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
