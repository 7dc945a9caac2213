"""A word on the command line: a run directory by its path, or a super-net by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hnas.discovery import Registry
from hnas.errors import ConfigError, PluginError
from hnas_app.runs.run_dir import SWEEP
from hnas_app.supernets.naming import run_or_supernet
from hnas_app.supernets.packing import Packed


def make_run(name: str, file: str = "run.json") -> None:
    Path(name).mkdir()
    (Path(name) / file).write_text("{}")


def test_a_word_with_a_slash_is_a_path(site: Any, tiny: Packed) -> None:
    site.publish(tiny)
    for word in ("./leaves", "runs/leaves", "leaves/", ".", ".."):
        assert run_or_supernet(word, Registry()) == Path(word)


@pytest.mark.parametrize("file", ["run.json", SWEEP])
def test_a_folder_of_a_run_is_that_run(file: str, site: Any, tiny: Packed) -> None:
    site.publish(tiny)
    make_run("mine", file)
    assert run_or_supernet("mine", Registry()) == Path("mine")


def test_a_name_is_a_super_net_even_if_a_folder_without_a_run_has_it(site: Any, tiny: Packed, tmp_path: Path) -> None:
    site.publish(tiny)
    Path("leaves").mkdir()
    for word in ("leaves", "leaves@hnas-supernet-leaves"):
        assert run_or_supernet(word, Registry()).parent == tmp_path / "home" / "supernets"


@pytest.mark.parametrize("file", ["run.json", SWEEP])
def test_a_word_that_is_both_is_refused_with_both_readings(file: str, site: Any, tiny: Packed) -> None:
    site.publish(tiny)
    make_run("leaves", file)
    with pytest.raises(ConfigError, match="'leaves' is a run directory here, and the name of a super-net") as error:
        run_or_supernet("leaves", Registry())
    assert "./leaves for the folder" in str(error.value.hint)


def test_a_word_that_is_neither(site: Any, tiny: Packed) -> None:
    site.publish(tiny)
    with pytest.raises(
        PluginError, match=r"'leavs' is neither a run directory nor a super-net\. Did you mean 'leaves'"
    ):
        run_or_supernet("leavs", Registry())
    with pytest.raises(PluginError, match="'os:path' is neither"):  # and is not imported
        run_or_supernet("os:path", Registry())


def test_a_folder_that_is_no_run_is_told_as_before(site: Any) -> None:
    Path("data").mkdir()
    assert run_or_supernet("data", Registry()) == Path("data")
