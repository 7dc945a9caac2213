"""The process in which `conformance` tests a plugin (``python -m`` this module): it reports in lines of JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hnas.testing
from hnas.discovery.descriptors import Kind, NoOptions
from hnas.discovery.loading import FAULTS, cause_text
from hnas.discovery.registry import Registry
from hnas.episode import EpisodeSpec
from hnas.errors import ConfigError, DataError, HnasError
from hnas.seeds import Seeds
from hnas.task_source import SPLITS
from hnas.toolkit.files import parse_json
from hnas_app.config.load import load_config
from hnas_app.supernets.files import missing

LONGEST = 2000
"""Characters of a message."""
IMAGES = ((1, 10, 10), (3, 16, 16), (3, 32, 32), (3, 84, 84))
"""Small images first: a space is tested with those that its networks take."""
SPECS = (EpisodeSpec(n_way=3, k_shot=2, n_query=3), EpisodeSpec(n_way=2, k_shot=1, n_query=1))


class NotTried(Exception):
    """Why a plugin cannot be tested here."""


class Reports:
    """A plugin of pytest that reports tests as they go."""

    def __init__(self, handle: int) -> None:
        os.set_inheritable(handle, False)
        self._handle = handle

    def put(self, **event: Any) -> None:
        os.write(self._handle, json.dumps(event).encode() + b"\n")

    def pytest_collection_finish(self, session: Any) -> None:
        self.put(tests=[item.name for item in session.items])

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self.put(running=nodeid.rpartition("::")[2])

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("::")[2]
        if report.skipped:
            self.put(test=name, skipped=str(report.longrepr[2]).removeprefix("Skipped: "))
        elif report.failed:
            self.put(test=name, failed=_message(report)[:LONGEST])
        elif report.when == "call":
            self.put(test=name)


def _message(report: Any) -> str:
    """Return what failed: the message of an expectation, or an exception and its place."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return str(report.longrepr)
    text = str(crash.message)
    return (
        text.removeprefix("AssertionError: ")
        if text.startswith("AssertionError: expected ")
        else (f"{text} ({crash.path}:{crash.lineno})")
    )


def prepared(told: dict[str, Any]) -> tuple[type, str]:
    """Return the class of the tests for a plugin, and how it was made. Raises `NotTried`."""
    kind: Kind = told["kind"]
    registry = Registry(third_party=told["third_party"], strict=False, warn=lambda text: None)
    if kind == "supernet":
        if lacking := missing(found := registry.get(kind, told["name"])):
            raise NotTried(f"its {' and '.join(lacking)} is still to be fetched: hnas supernets fetch {told['name']}")
        return type("TestPlugin", (hnas.testing.PretrainedSuperNetConformance,), {"make": lambda self: found}), ""
    if kind == "tracker":
        make_tracker = {"make": lambda self: registry.create(kind, told["name"])}
        return type("TestPlugin", (hnas.testing.TrackerConformance,), make_tracker), ""
    try:
        sets = [(key, value) for key, value in told["sets"]]
        choice = getattr(
            load_config(registry, preset="none", env={}, flags={kind: told["name"]}, sets=sets).config, kind
        )

        def make() -> Any:
            return registry.create(kind, choice.name, choice.options)

        more, how = TRIED[kind](make(), told) if kind in TRIED else ({}, "")
    except HnasError as cause:
        raise NotTried(f"{cause}" + (f" ({cause.hint})" if cause.hint else "")) from cause
    options = None if isinstance(choice.options, NoOptions) else type(choice.options)
    base: type = getattr(hnas.testing, f"{kind.capitalize()}Conformance")
    return type("TestPlugin", (base,), {"make": lambda self: make(), "options": options, **more}), how


Tried = tuple[dict[str, Any], str]


def _space(space: Any, told: dict[str, Any]) -> Tried:
    for shape in IMAGES:
        try:
            space.layers(space.largest(), shape, 3)
        except ConfigError:
            continue
        return {"input_shape": shape, "samples": 2}, f"images of {'x'.join(map(str, shape))}"
    raise NotTried("its networks take no image of up to 3x84x84: subclass hnas.testing.SpaceConformance in a test")


def _backend(backend: Any, told: dict[str, Any]) -> Tried:
    try:
        info = backend.describe()
    finally:
        backend.close()
    if info.rounds is not None and not told["measure"]:
        raise NotTried(f"{info.device} is a real device, which would be measured for minutes; --measure does it")
    # In our own tests, too, a real device is given so much: the machine may be doing other things.
    loose = {"repeatability": 10.0, "network_factor": 10.0} if info.rounds is not None else {}
    return {"test_networks_cost_what_their_layers_do": _of_a_chain, **loose}, "whole networks without branches"


def _of_a_chain(tests: Any) -> None:
    """Compare a chain of layers with its network: branches may keep more in memory than any layer shows."""
    tests.networks = (hnas.testing.CHAIN,)
    hnas.testing.BackendConformance.test_networks_cost_what_their_layers_do(tests)


def _tasks(source: Any, told: dict[str, Any]) -> Tried:
    for spec in SPECS:
        try:
            for split in SPLITS:
                source.sample(split, spec, [Seeds(0).numpy("conformance")])
        except DataError as cause:
            why = cause
            continue
        return {"spec": spec}, f"tasks of {spec.n_way} classes"
    raise why


TRIED: dict[Kind, Callable[[Any, dict[str, Any]], Tried]] = {
    "space": _space,
    "backend": _backend,
    "strategy": lambda strategy, told: ({"most_iterations": 1_000_000}, ""),
    "tasks": _tasks,
}
"""By kind: look whether a plugin can be tested, and return the sizes of the tests."""


def main(text: str) -> None:
    """Test the plugin that ``text`` names, and report."""
    import pytest

    told = parse_json(text)
    reports, folder = Reports(told["reports"]), Path(told["folder"])
    try:
        globals()["TestPlugin"], how = prepared(told)
    except NotTried as why:
        reports.put(not_tried=str(why))
    except FAULTS as cause:
        reports.put(test="the preparation of the tests", failed=cause_text(cause))
    else:
        reports.put(made=how)
        tests, settings = folder / "test_hnas_conformance.py", folder / "pytest.ini"
        tests.write_text("from __main__ import TestPlugin\n")
        settings.write_text("[pytest]\n")
        own = ["-c", str(settings), "--rootdir", str(folder), "--basetemp", str(folder / "files"), "--noconftest"]
        own += ["--import-mode=importlib", "--capture=no", "-p", "no:terminal", "-p", "no:cacheprovider"]
        pytest.main([str(tests), *own], plugins=[reports])
    reports.put(done=True)


if __name__ == "__main__":
    main(sys.argv[1])
