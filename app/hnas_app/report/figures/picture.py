"""A figure with its caption and hover texts, as inline SVG and as files."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hnas.cost import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 3.35
"""The width of a column in inches: 85 mm."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Those of Okabe and Ito, which differ for colour-blind readers, too."""
MARKERS = "osD^vP"
INK, FAINT = "#1f2328", "#8c959f"
_STYLE: Any = {
    "font.size": 7,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1,
    "svg.fonttype": "none",
    "svg.hashsalt": "hnas",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
_KINDS: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def file_name(text: str) -> str:
    """Make a text fit for the name of a file, and for an id."""
    return re.sub(r"[^A-Za-z0-9+.]+", "-", text).strip("-.") or "unnamed"


@frozen(kw_only=True, eq=False)
class Picture:
    """A figure, and for the marks of each group, by its gid, the text that hovering over each of them shows."""

    name: str = field(converter=file_name)
    """Fit for a file: a network may be called anything."""
    caption: str
    figure: Figure
    tips: Mapping[str, Sequence[str]] = field(factory=dict)
    by_row: bool = False
    """Whether the text of a mark shows anywhere in its row."""

    def svg(self, prefix: str) -> str:
        """Return the figure as an SVG element whose ids begin with ``prefix``, so that a page can hold many."""
        text = self._written(".svg").decode()
        text = re.sub(r">\s+<", "><", text[text.index("<svg") :])
        text = re.sub(r'(?<=\bid=")|(?<=href="#)|(?<=url\(#)', f"{prefix}-", text)
        return re.sub(
            r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
        )

    def _repr_html_(self) -> str:
        """Called by notebooks: the figure at twice the width of a column, with its caption."""
        prefix = hashlib.sha256(self._written(".svg")).hexdigest()[:8]  # two figures of a notebook share no id
        return f'<figure style="max-width: {2 * WIDTH}in">{self.svg(prefix)}<p>{escape(self.caption)}</p></figure>'

    def save(self, folder: Path | str) -> list[Path]:
        """Write the figure as SVG and as PDF into a folder, and return the files. Raises `OSError` if it cannot."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        paths = [Path(folder) / f"{self.name}{kind}" for kind in _KINDS]
        for path in paths:
            path.write_bytes(self._written(path.suffix))
        return paths

    def _written(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        with _style():
            self.figure.savefig(buffer, format=kind[1:], metadata=_KINDS[kind])
        return buffer.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


@contextmanager
def drawing(height: float, rows: int = 1, **options: Any) -> Iterator[tuple[Figure, list[Any]]]:
    """Yield a figure of the width of a column with panels below each other, to draw in."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(rows, squeeze=False, **options)
        yield figure, [row[0] for row in axes]
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it would place everything anew for each file


def legend_below(figure: Figure, axes: Sequence[Any], columns: int = 2) -> None:
    """Put one legend of all panels below them, where it covers no mark."""
    found: dict[str, Any] = {}
    for each in axes:
        for handle, name in zip(*each.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if found:
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)


def amount(value: float, metric: Metric) -> str:
    """Return a cost with its unit: ``0.0103 ms``, ``86,964 macs``."""
    number = f"{value:,.0f}" if not metric.unit and float(value).is_integer() else f"{value:.4g}"
    return f"{number} {metric.unit or metric.name}"


def axis_name(metric: Metric) -> str:
    """Return the name of an axis of costs: ``latency, ms``."""
    return f"{metric.name}, {metric.unit}" if metric.unit else metric.name
