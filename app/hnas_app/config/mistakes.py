"""The mistakes in a configuration, from all sources, shown at once and in the order in which they were written."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field

from hnas.errors import ConfigError
from hnas_app.config.sources import Entry


@define
class Mistakes:
    """The mistakes found in a configuration so far. Sources are numbered; later ones override earlier ones."""

    file: Path | None
    _found: list[tuple[int, int, str]] = field(factory=list)
    """Layer, line and text of each."""

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, layer: int, text: str, line: int = 0) -> None:
        self._found.append((layer, line, text))

    def add_entry(self, layer: int, entry: Entry, text: str) -> None:
        """Add a mistake in an entry, with its place; the key is not repeated if the place names it."""
        key = ".".join(entry.keys)
        is_flag = entry.where.startswith("--") and not entry.where.startswith("--set ")
        named = "" if is_flag or key in entry.where.removeprefix("--set ").split("=")[0] else f"{key}: "
        self.add(layer, f"{entry.where}: {named}{text}", entry.line)

    def listed(self) -> str:
        """Return one line for each mistake."""
        return "\n".join(text for *_, text in sorted(self._found, key=lambda mistake: mistake[:2]))

    def report(self) -> ConfigError:
        """Return an error that lists all mistakes."""
        where = f" ({self.file})" if self.file and any(layer == 0 for layer, *_ in self._found) else ""
        count = len(self._found)
        return ConfigError(f"{count} mistake{'s' if count > 1 else ''} in the configuration{where}:\n{self.listed()}")
