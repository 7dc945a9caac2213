"""Whole runs keep below the memory that the docs promise, and the script compares the allocators' two ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "promised_gb"), [("glyphs", 1.2), ("32", 1.5), ("84", 3.5)])
def test_a_quick_run_keeps_below(
    benchmark_module: Callable[[str], Any], tmp_path: Path, kind: str, promised_gb: float
) -> None:
    """On 32×32 colour pictures 600 test tasks took 8 GB with two workers, nearly all of it free."""
    assert benchmark_module("heap").peak_gb(kind, tmp_path, workers=2) < promised_gb


@pytest.mark.slow
def test_both_variants_are_timed(
    benchmark_module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = benchmark_module("heap")
    monkeypatch.syspath_prepend(Path(module.__file__).parent)  # for its workers
    monkeypatch.setattr(module, "record", lambda name, rows: {"benchmark": name, "rows": rows})
    module.main(["--work", "search", "--reps", "1", "--json"])
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["seconds"].keys() == row["resident_mb"].keys() == {"settled", "kept"}
    assert row["ratio"] == pytest.approx(row["seconds"]["settled"] / row["seconds"]["kept"], rel=0.02)
