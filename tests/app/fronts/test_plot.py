"""Labels of pictures are text of others: names of boards, plugins and networks."""

from __future__ import annotations

import xml.etree.ElementTree as tree
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from hnas_app.fronts.plot import label


def test_a_label_is_drawn_as_it_is(tmp_path: Path) -> None:
    """A name with dollars is no formula, and one with an escape makes no SVG that nothing reads."""
    figure = Figure()
    figure.add_subplot().set_title(label("pays $\\frac$ \x1b[31m\udcff"))
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(tmp_path / "a.svg")
    texts = [element.text for element in tree.parse(tmp_path / "a.svg").iter() if element.tag.endswith("}text")]
    assert r"pays $\frac$ \x1b[31m\udcff" in texts
