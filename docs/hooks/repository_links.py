"""Turns links to files of the repository that are no pages into their names (mkdocs hook).

On the site there is nothing to link to; where pages are read in the repository such links work.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>\.\./[^)#\s]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Called by mkdocs with the text of every page. A link that leads nowhere is left for mkdocs to report."""
    docs = Path(config.docs_dir)
    folder = posixpath.dirname(page.file.src_uri)

    def replaced(link: re.Match[str]) -> str:
        target = (docs / folder / link["target"]).resolve()
        outside = target.is_relative_to(docs.parent) and not target.is_relative_to(docs)
        return f"`{target.relative_to(docs.parent)}`" if outside and target.exists() else link[0]

    return LINK.sub(replaced, markdown)
