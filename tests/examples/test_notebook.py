"""The notebook runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hnas

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook.ipynb"


def test_it_is_kept_without_outputs():
    """Those of a machine would change with every execution."""
    cells = [c for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert len(cells) >= 5
    assert [c for c in cells if c["outputs"] or c["execution_count"]] == []


@pytest.mark.slow
def test_every_cell_runs_and_shows_something(required_module, tmp_path, monkeypatch):
    nbformat, nbclient = required_module("nbformat"), required_module("nbclient")
    required_module("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, timeout=600).execute()
    first, picture, networks, _, compared, page = shown = [
        {kind: text for out in cell.outputs for kind, text in out.get("data", {}).items()}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    assert all(shown)
    run = hnas.load_run(next((tmp_path / "runs").glob("*-vgg9-eyeriss-*/evaluate.json")).parent)
    assert "on test tasks" in first["text/html"]
    assert "<svg" in picture["text/html"]
    assert str(run.results.networks[-1].name) in networks["text/html"]
    assert "paired over the same 10 test tasks" in compared["text/html"]
    assert "report.html" in page["text/plain"]
