"""Pieces of a page in which every text of a file is escaped: tables, figures, commands, and the page around them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from hnas.errors import shown
from hnas_app.report.figures.picture import Picture


def text(value: object) -> str:
    """Return anything as text of a page: markup in it is shown, not followed."""
    return escape(shown(str(value), keep="\n"), quote=True)


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, wrap: Sequence[int] = ()) -> str:
    """Return a table that scrolls by itself on a narrow screen; cells of the columns ``wrap`` may break."""
    cells = "".join(f"<th scope=col>{text(cell)}</th>" for cell in head)
    lines = [
        "".join(f"<td{' class=wrap' if i in wrap else ''}>{text(cell)}</td>" for i, cell in enumerate(row))
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=scroll tabindex=0><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"


def figure(picture: Picture, prefix: str) -> str:
    """Return a figure with its caption and hover texts; ``prefix`` is of its own on the page."""
    tips = json.dumps(picture.tips, ensure_ascii=True).replace("<", "\\u003c")
    rows = " data-by-row" if picture.by_row else ""
    svg = picture.svg(prefix).replace("<svg ", f'<svg role="img" aria-label="{text(picture.caption)}" ', 1)
    data = f'<script type="application/json">{tips}</script>'
    caption = f"<figcaption>{text(picture.caption)}</figcaption>"
    return f'<figure data-prefix="{text(prefix)}"{rows}>{svg}{data}{caption}</figure>'


def figures(pictures: Iterable[tuple[Picture, str]]) -> str:
    """Return figures beside each other, as many as fit."""
    return f"<div class=figures>{''.join(figure(picture, prefix) for picture, prefix in pictures)}</div>"


def missing(sentences: Sequence[str], title: str = "Not all is here:") -> str:
    """Return a box of what a report lacks, or of what is to be known before it is read; nothing without sentences."""
    if not sentences:
        return ""
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f"<div class=missing>{text(title)}<ul>{items}</ul></div>"


def commands(found: Iterable[tuple[str, str]]) -> str:
    """Return commands to copy, each with what it is for."""
    return "".join(
        f"<div class=command><pre>{text(command)}</pre><button type=button data-copy>copy</button>"
        f"<span class=faint>{text(purpose)}</span></div>"
        for command, purpose in found
    )


def hidden(summary: str, content: str) -> str:
    """Return content that is shown when its summary is clicked."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def page(title: str, body: str) -> str:
    """Return the whole page. Its policy lets it load nothing, and run its own script only."""
    style, script = (files("hnas_app.report").joinpath(n).read_text(encoding="utf-8") for n in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{style}</style></head>\n<body>{body}\n"
        f"<div id=tip role=status hidden></div><div id=ring hidden></div><script>{script}</script></body></html>\n"
    )
