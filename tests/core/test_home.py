"""Where the cost tables are kept."""

from pathlib import Path

import pytest

from hnas.toolkit.home import home


@pytest.mark.parametrize(
    ("own", "cache", "expected"),
    [
        ("/a/b", "/cache", "/a/b"),
        ("~/x", "/cache", "{home}/x"),
        ("", "/cache", "/cache/hnas"),
        (None, "relative", "{home}/.cache/hnas"),
        (None, None, "{home}/.cache/hnas"),
    ],
)
def test_hnas_home_then_xdg_then_the_default(own, cache, expected, tmp_path, monkeypatch):
    """The wrong folder wins, and measurements are not found again or land where they should not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (("HNAS_HOME", own), ("XDG_CACHE_HOME", cache)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert home() == Path(expected.format(home=tmp_path))
