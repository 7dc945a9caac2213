"""The page of a report: one file that loads nothing, with figures that are whole and texts that are escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

import hnas
from hnas_app.cli import run as command_line
from hnas_app.report import writing
from hnas_app.report.figures.picture import WIDTH
from hnas_app.report.writing import write_report

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)<_script><img src=x onerror=alert(1)>&\"'"
LOADING = {"src", "srcset", "data", "action", "background", "poster", "formaction", "ping"}


class Reader(HTMLParser):
    """Collects what a browser would load, run or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {key: value or "" for key, value in attrs}
        self.loaded += [
            v for k, v in given.items() if k in LOADING or (k == "href" and tag in ("link", "base", "image"))
        ]
        self.loaded += [v for k, v in given.items() if k.endswith("href") and not v.startswith("#")]
        self.loaded += [v for k, v in given.items() if "url(" in v and "url(#" not in v]
        self.handlers += [k for k in given if k.startswith("on")]
        self.ids += [v for k, v in given.items() if k == "id"]
        if tag == "script" and "type" not in given:
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.scripts and not self.scripts[-1]:
            self.scripts[-1] = data


@pytest.fixture(scope="module")
def page(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run whose folder has a name that would be markup."""
    return hnas.load_run(make_run(tmp_path_factory.mktemp("page") / HOSTILE)).report().path


def figures(text: str) -> list[tuple[str, str, dict[str, list[str]]]]:
    found = re.findall(
        r'<figure data-prefix="([^"]*)"[^>]*>(<svg.*?</svg>)\s*<script[^>]*>(.*?)</script>', text, re.DOTALL
    )
    return [(prefix, svg, json.loads(tips)) for prefix, svg, tips in found]


def test_it_is_one_file_that_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    read = Reader(text)
    assert read.loaded == []
    assert "@import" not in text
    assert len(text.encode()) < 600_000
    assert not {"link", "iframe", "img", "object", "embed"} & set(read.tags)


def test_names_are_shown_and_not_followed(page):
    """The only script is the page's own, and the policy lets no other run."""
    text = page.read_text(encoding="utf-8")
    read = Reader(text)
    assert "&lt;script&gt;alert(1)" in text
    assert (len(read.scripts), read.handlers) == (1, [])
    digest = base64.b64encode(hashlib.sha256(read.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_every_figure_is_whole_and_every_mark_has_its_text(page):
    """A text too few, and each mark would show that of another."""
    drawn = figures(page.read_text(encoding="utf-8"))
    assert [prefix for prefix, *_ in drawn] == [
        *(
            "r0-front-latency",
            "r0-network-found",
            "r0-network-scaled",
            "r0-search",
            "r0-meta-training",
            "r0-re-training",
        )
    ]
    for prefix, svg, tips in drawn:
        tree = ElementTree.fromstring(svg)
        assert tips
        for gid, texts in tips.items():
            (group,) = (g for g in tree.iter(f"{SVG}g") if g.get("id") == f"{prefix}-{gid}")
            assert len(list(group.iter(f"{SVG}use"))) == len(texts) > 0
        assert all(
            use.get("{http://www.w3.org/1999/xlink}href", "").startswith(f"#{prefix}-")
            for use in tree.iter(f"{SVG}use")
        )


def test_an_id_is_there_once(page):
    ids = Reader(page.read_text(encoding="utf-8")).ids
    assert len(ids) == len(set(ids)) > 100


def test_validation_and_test_accuracy_have_an_axis_each(page):
    front = figures(page.read_text(encoding="utf-8"))[0]
    tested = {f"test-{i}-{how}" for i in (0, 1) for how in ("alone", "shared")}
    assert set(front[2]) == {"population", "finalists", "chosen", *tested}
    labels = [t.text for t in ElementTree.fromstring(front[1]).iter(f"{SVG}text")]
    assert {"validation accuracy, %", "test accuracy, %", "over the limit"} <= set(labels)
    assert "on validation tasks" in front[2]["population"][0]
    assert "kernel1" not in front[2]["population"][0]
    assert re.search(r"depth \d; 1: kernel", front[2]["population"][0])


def test_the_same_run_gives_the_same_page(make_run, tmp_path):
    run = make_run(tmp_path / "run", until="profile")
    pages = [write_report([run], tmp_path / name).path.read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]
    assert b"Not all is here" in pages[0]


def test_the_figures_are_as_wide_as_a_column(make_run, tmp_path, capsys):
    """SVG and PDF, for a paper."""
    run = make_run(tmp_path / "run", until="profile")
    assert (
        command_line(["report", str(run), "-o", str(tmp_path / "r.html"), "--figures", str(tmp_path / "figures")]) == 0
    )
    out, err = capsys.readouterr()
    assert out.startswith("Unfinished: meta-train, profile done")
    assert "note: run: the phase adapt has not begun" in err
    assert f"next: hnas evaluate {run}" in err
    written = sorted((tmp_path / "figures").iterdir())
    assert [p.name for p in written] == [
        f"{n}{k}" for n in ("meta-training", "re-training", "search") for k in (".pdf", ".svg")
    ]
    for path in written:
        points = 72 * WIDTH
        if path.suffix == ".svg":
            assert float(ElementTree.parse(path).getroot().get("width", "").removesuffix("pt")) == pytest.approx(points)
        else:
            assert path.read_bytes().startswith(b"%PDF")
            (width,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+)", path.read_bytes())
            assert float(width) == pytest.approx(points)


def test_several_runs_have_a_picture_together_and_a_comparison(make_run, tmp_path, monkeypatch):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", better=0.02)]
    monkeypatch.setattr(writing, "MOST_BYTES", 0)
    done = write_report(runs, tmp_path / "r.html")
    text = done.path.read_text(encoding="utf-8")
    assert figures(text)[0][0] == "all-test-latency-1"
    assert "paired over the same 30 test tasks" in text
    assert done.without_figures == ("a", "b")
    assert "Its figures are in its own report" in text


def test_runs_of_other_tasks_are_refused_or_labelled(make_run, tmp_path, capsys):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", task__n_way=3)]
    words = ["report", *map(str, runs), "-o", str(tmp_path / "r.html")]
    assert command_line(words) == hnas.ConfigError.exit_code
    assert "--mixed" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_a_folder_that_is_not_there_is_no_run(tmp_path):
    with pytest.raises(hnas.DataError, match="is not a run directory"):
        write_report([tmp_path / "gone"])


def test_a_place_that_cannot_be_written_is_named(make_run, tmp_path):
    run = make_run(tmp_path / "run", until="profile")
    with pytest.raises(hnas.DataError, match="cannot write"):
        write_report([run], tmp_path / "no" / "folder" / "r.html")
