"""The page in a headless Chromium: no complaint, hover texts, and no sideways scrolling on a phone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from hnas_app.report.writing import write_report

sys.path.insert(0, str(Path(__file__).parent))
import browser

MIDDLE = """(async () => {
  const mark = document.querySelector('[id="%s"] use');
  mark.scrollIntoView({block: "center"});
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))); // scrolling hides the text
  const box = mark.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
})()"""
TIP = "document.getElementById('tip').hidden ? null : document.getElementById('tip').textContent"


@pytest.fixture
def page(tmp_path):
    """A page of the browser. Skipped without one, or failed where ``HNAS_REQUIRE_TOOLS=1`` says that it must run."""
    program = browser.find()
    if program is None:
        if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
            pytest.fail("there is no Chromium, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
        pytest.skip("there is no Chromium")
    with browser.opened(program, tmp_path / "profile") as opened:
        yield opened


@pytest.mark.slow
def test_a_report_in_a_browser(make_run, tmp_path, page):
    runs = [make_run(tmp_path / name, better=better) for name, better in (("a", 0.0), ("<script>alert(1)<b>", 0.02))]
    path = write_report(runs, tmp_path / "report.html").path
    for width in (1280, 390):
        page.open(path, width)
        assert page.complaints == []
        assert page.value("document.documentElement.scrollWidth") <= width
        for mark, told in (
            ("r0-front-latency-finalists", "% on validation tasks"),
            ("r1-search-mean", "iteration 1: mean"),
        ):
            page.hover(*page.value(MIDDLE % mark))
            assert told in page.value(TIP)
        page.hover(1, 1)
        assert page.value(TIP) is None
    page.value("document.querySelector('button[data-copy]').click()")
    assert page.complaints == []
