"""Named devices: where they are kept, that they survive, and what is told of a wrong one."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from hnas.errors import ConfigError, DataError, DeviceError
from hnas.toolkit.devices import Device, DeviceBook, check_name
from hnas.toolkit.home import config_home


@pytest.fixture
def book(tmp_path: Path) -> DeviceBook:
    return DeviceBook(tmp_path / "new" / "devices.json")


def device(name: str, **settings: object) -> Device:
    return Device(name=name, backend="arm", settings={"address": "pi@10.0.0.9", **settings})


@pytest.mark.parametrize(
    ("own", "config", "expected"),
    [
        ("/a/b", "/config", "/a/b"),
        ("~/x", "/config", "{home}/x"),
        ("", "/config", "/config/hnas"),
        (None, "relative", "{home}/.config/hnas"),
        (None, None, "{home}/.config/hnas"),
    ],
)
def test_devices_are_configuration_and_no_cache(own, config, expected, tmp_path, monkeypatch):
    """Whoever empties the cache would lose the host keys, and agree to the next one unseen."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (("HNAS_HOME", own), ("XDG_CONFIG_HOME", config)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert config_home() == Path(expected.format(home=tmp_path))
    assert DeviceBook().path == config_home() / "devices.json"


def test_what_is_added_is_found_again(book):
    assert book.all() == []
    assert book.find("pi4") is None
    book.add(device("pi4", port=2222, fast=True))
    book.add(device("a-board"))
    assert [d.name for d in book.all()] == ["a-board", "pi4"]
    assert book.get("pi4").settings == {"address": "pi@10.0.0.9", "port": 2222, "fast": True}
    with pytest.raises(ConfigError, match="'pi4' exists already") as error:
        book.add(device("pi4"))
    assert "hnas devices remove pi4" in str(error.value.hint)
    book.remove("pi4")
    book.remove("pi4")
    assert [d.name for d in book.all()] == ["a-board"]


def test_an_unknown_name_gets_close_matches(book):
    book.add(device("kitchen"))
    with pytest.raises(DeviceError, match=r"unknown device 'kichen'\. Did you mean 'kitchen'\? Known: kitchen\."):
        book.get("kichen")


@pytest.mark.parametrize("name", ["", "-x", "_x", "Pi4", "pi 4", "pi/4", "../x", "pi4\n", "ä", "a@b"])
def test_a_name_that_is_none_is_refused(name):
    """A name becomes part of a host key's alias and of commands that users copy."""
    with pytest.raises(ConfigError, match="cannot name a device"):
        check_name(name)
    with pytest.raises(ConfigError, match="cannot name a device"):
        Device(name=name, backend="arm")


def test_settings_are_plain():
    with pytest.raises(ConfigError, match="setting 'port' of device 'pi4'"):
        device("pi4", port=[22])


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"schema": 1}', '{"schema": 1, "devices": {"X Y": {}}}', '{"schema": 2}']
)
def test_a_damaged_file_or_one_of_a_newer_hnas_is_told_and_left_alone(content, book):
    book.path.parent.mkdir()
    book.path.write_text(content)
    for use in (book.all, lambda: book.add(device("pi4"))):
        with pytest.raises(DataError, match=r"devices\.json"):
            use()
    assert book.path.read_text() == content


@pytest.mark.parametrize(
    ("devices", "where"),
    [
        ({"pi4": {"backend": 5, "settings": {}}}, r"expected text, got 5 @ \$\.devices\['pi4'\]\.backend"),
        ({"pi4": {"backend": "arm"}}, r"required field missing @ \$\.devices\['pi4'\]\.settings"),
        ({"pi4": {"backend": "arm", "settings": []}}, r"expected a mapping @ \$\.devices\['pi4'\]\.settings"),
        ({"pi4": {"backend": "arm", "settings": {"port": [2]}}}, r"got \[2\] @ .*\['pi4'\]\.settings\['port'\]"),
        ({"pi4": {"backend": "arm", "settings": {"port": None}}}, r"got None @ .*\['pi4'\]\.settings\['port'\]"),
        ({"pi4": "arm"}, r"\$\.devices\['pi4'\]"),
        (["pi4"], r"expected a mapping @ \$\.devices"),
    ],
)
def test_a_wrong_shape_names_file_device_and_key(devices, where, book):
    book.path.parent.mkdir()
    book.path.write_text(json.dumps({"schema": 1, "devices": devices}))
    with pytest.raises(DataError, match=rf"devices\.json is damaged or was edited: .*{where}"):
        book.all()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot write"):
        DeviceBook(tmp_path / "x" / "devices.json").add(device("pi4"))


def _add_many(path: Path, writer: int) -> None:
    for i in range(20):
        DeviceBook(path).add(device(f"w{writer}-{i}"))


def test_two_processes_lose_no_device(book):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_many, args=(book.path, w)) for w in range(3)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    assert len(book.all()) == 60
    assert json.loads(book.path.read_text())["schema"] == 1
