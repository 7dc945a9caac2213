"""User code is known by its source: an edit is another implementation. Installed plugins say what they are."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import pytest

from hnas import DeviceInfo, HardwareBackend, Metric, PluginError
from hnas_app.costs.description import SOURCE, described, source_digest
from hnas_backends.eyeriss import Eyeriss, EyerissOptions

BOARD = '''
"""A board."""
from hnas import DeviceInfo, HardwareBackend, Measurement, Metric

NS = 2.0


class Board(HardwareBackend):
    def describe(self):
        return DeviceInfo(backend="b", device="d", runtime="1", metrics=(Metric(name="latency", unit="ms"),))

    def measure(self, layers):
        for layer in layers:  # one after the other
            yield {"latency": Measurement(median=NS * layer.macs, unit="ms")}
'''


@pytest.fixture
def write(tmp_path, monkeypatch, request):
    """Return a function that writes the board's file and imports it, as a new process would."""
    name = f"board_{abs(hash(request.node.name))}"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("hnas_app.costs.description._seen", {})

    def made(source: str, *, reload: bool = True) -> type:
        (tmp_path / f"{name}.py").write_text(source)
        if reload:
            sys.modules.pop(name, None)
            monkeypatch.setattr("hnas_app.costs.description._seen", {})
        importlib.invalidate_caches()
        sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode  # two edits in a second have one time
        try:
            return importlib.import_module(name).Board
        finally:
            sys.dont_write_bytecode = kept

    yield made
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("old", "new"), [("NS * layer.macs", "NS * layer.params"), ("NS = 2.0", "NS = 3.0")], ids=["formula", "constant"]
)
def test_an_edit_makes_another_device(write, old, new):
    """The rows of the old formulas are taken for those of the new ones, and nothing tells so."""
    before = described(write(BOARD)())
    after = described(write(BOARD.replace(old, new))())
    assert before.fingerprint != after.fingerprint
    assert described(write(BOARD)()).fingerprint == before.fingerprint, "and undone it is the first one again"


@pytest.mark.parametrize(("old", "new"), [("  # one after the other", ""), ("\n\n\n", "\n\n\n\n# layout\n")])
def test_comments_and_layout_do_not_count(write, old, new):
    """A board that took hours is measured again for a comment."""
    assert source_digest(write(BOARD)) == source_digest(write(BOARD.replace(old, new)))


def test_an_edit_of_a_base_counts(write):
    def derived() -> str:
        return source_digest(type("Mine", (write(source),), {"__module__": __name__}))

    source = BOARD
    before = derived()
    source = BOARD.replace("NS *", "2 * NS *")
    assert derived() != before


def test_an_edit_that_is_not_loaded_yet_is_neither_version(write):
    """In a notebook the old code runs on: its rows would wait in the store for the new one."""
    first = source_digest(write(BOARD))
    edited = BOARD.replace("layer.macs", "layer.params")
    running = source_digest(write(edited, reload=False))
    assert len({first, running, source_digest(write(edited))}) == 3


def test_an_installed_plugin_is_known_by_what_it_says_alone():
    """A release would void the rows of every board."""
    backend = Eyeriss(EyerissOptions())
    assert described(backend) == backend.describe()
    assert source_digest(Eyeriss) == ""


@pytest.fixture
def importing(monkeypatch):
    """Return a function that imports a file's class, and forget its module at the end."""
    names = []

    def imported(path: Path) -> type:
        path.parent.mkdir(exist_ok=True)
        path.write_text(BOARD)
        monkeypatch.syspath_prepend(path.parent)
        names.append(path.stem)
        return importlib.import_module(path.stem).Board

    yield imported
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("folder", ["site-packages", "plain"])
def test_a_package_that_pip_installed_is_no_user_code(importing, tmp_path, folder):
    cls = importing(tmp_path / folder / "board_lib.py")
    assert bool(source_digest(cls)) == (folder == "plain")


def test_a_plugin_installed_in_place_is_no_user_code(importing, tmp_path):
    """`pip install -e` leaves the source where it is; the entry point tells whose it is."""
    cls = importing(tmp_path / "board_in_place.py")
    assert source_digest(cls) != ""
    info = tmp_path / "hnas_backend_in_place-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hnas-backend-in-place\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hnas]\nin-place = board_in_place\n")
    importlib.invalidate_caches()
    assert source_digest(cls) == ""


def test_a_class_of_a_notebook_is_known_by_its_own_source():
    """Cells have no file; what is in the class tells one version from another."""

    def typed(source: str) -> str:
        module = types.ModuleType("typed_in")
        exec(source, module.__dict__)
        return source_digest(module.Board)

    assert typed(BOARD) == typed(BOARD) != ""
    assert typed(BOARD) != typed(BOARD.replace("NS * layer.macs", "NS * layer.params"))


def test_a_description_that_fails_names_the_backend():
    class Broken(HardwareBackend):
        answer: object = None

        def describe(self) -> DeviceInfo:
            return self.answer or DeviceInfo(backend="b", device="d", runtime="1", metrics=(Metric(nam="latency"),))

        def measure(self, layers):
            raise AssertionError

    with pytest.raises(PluginError, match=r"the backend Broken failed in describe\(\): TypeError: .*'nam'") as told:
        described(Broken())
    assert "--debug" in str(told.value.hint)
    Broken.answer = "a board"
    with pytest.raises(PluginError, match=r"returned 'a board', expected a hnas.DeviceInfo"):
        described(Broken())


def test_the_settings_tell_of_it(write):
    backend = write(BOARD)()
    assert described(backend).settings == {SOURCE: source_digest(type(backend))}
    assert Path(sys.modules[type(backend).__module__].__file__).is_file()
