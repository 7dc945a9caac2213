"""Records what a command prints on a terminal, and draws the recording as an SVG that moves, or as a still one.

python docs/pictures/recording.py record adapt.jsonl hnas adapt first -c params:6K
python docs/pictures/recording.py draw adapt.jsonl docs/pictures/adapt.svg --seconds 15

The SVG plays in any browser, without a script, and loads nothing. Its time is not that of the command: each change of
the screen has the same share, and the end stays. Long lines and long results are cut, with an ellipsis.
"""

from __future__ import annotations

import argparse
import fcntl
import html
import io
import json
import os
import pty
import re
import shlex
import struct
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS, ROWS = 92, 24
_CONTROL = re.compile(r"\x1b\[(\?25[lh]|[0-9;]*[A-Za-z])|\r|\n")
_FORMAT = "{styles}\v{backgrounds}{matrix}"
_FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">
<style>text {{ font: 20px ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; white-space: pre }}
.clip {{ display: none }} {styles}
{times}
@media (prefers-reduced-motion: reduce) {{ .f {{ animation: none !important }} .last {{ opacity: 1 !important }} }}
</style>
<rect width="{width}" height="{height}" rx="12" fill="#1b1f24"/>
<g fill="#5b636d"><circle cx="24" cy="22" r="6"/><circle cx="44" cy="22" r="6"/><circle cx="64" cy="22" r="6"/></g>
<g transform="translate(16 44)">
{frames}
</g></svg>
"""


def record(out: Path, command: list[str]) -> None:
    """Run a command in a terminal, and write a line for each piece of its output: seconds and text."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES=str(ROWS))
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    begun = time.monotonic()
    with out.open("w", encoding="utf-8") as file:
        file.write(json.dumps([0.0, f"$ {shlex.join(command)}\n"]) + "\n")
        while piece := _read(terminal):
            file.write(json.dumps([round(time.monotonic() - begun, 3), piece]) + "\n")
    os.waitpid(child, 0)


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode("utf-8", "replace")
    except OSError:  # the command has ended
        return ""


def screens(pieces: list[str]) -> list[str]:
    """Return the screen after each piece, with its colours as escape codes; equal ones in a row count once."""
    lines, row, found = [""], 0, list[str]()
    for piece in pieces:
        at = 0
        for code in _CONTROL.finditer(piece):
            lines[row] += piece[at : code.start()]
            at = code.end()
            match code[0][-1]:
                case "\n":
                    row += 1
                    lines += [""] * (row == len(lines))
                case "\r" | "h" | "l":
                    pass
                case "K":
                    lines[row] = ""
                case "A":
                    row = max(0, row - int(code[1][:-1] or 1))
                case "m":
                    lines[row] += code[0]
                case _:
                    raise ValueError(f"the command uses {code[0]!r}, which this script does not know")
        lines[row] += piece[at:]
        screen = "\n".join(lines)
        if not found or screen != found[-1]:
            found.append(screen)
    return found


def chosen(found: list[str], most: int) -> list[str]:
    """Return some screens, evenly taken, with the first and the last."""
    step = max(1, (len(found) - 1) / max(1, most - 1))
    return [found[round(i * step)] for i in range(min(most, len(found)))]


def shortened(lines: Sequence[Text], rows: int) -> list[Text]:
    """Return the lines of a screen; of a longer one the first and the last, and a line with an ellipsis between."""
    return [*lines] if len(lines) <= rows else [*lines[: rows - 4], Text("…"), *lines[-3:]]


def draw(recorded: Path, out: Path, *, seconds: float, most: int, rows: int) -> None:
    """Write the SVG."""
    pieces = [json.loads(line)[1] for line in recorded.read_text(encoding="utf-8").splitlines()]
    frames = chosen(screens(pieces), most)
    drawn, styles = list[str](), dict[str, None]()
    for i, screen in enumerate(frames):
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor", force_terminal=True)
        for line in shortened(Text.from_ansi(screen).split("\n"), rows):
            line.truncate(COLUMNS, overflow="ellipsis")
            console.print(line, soft_wrap=True)
        svg = console.export_svg(theme=MONOKAI, code_format=_FORMAT, unique_id="t")
        style, _, body = svg.partition("\v")
        styles |= dict.fromkeys(style.splitlines())
        body = re.sub(r' clip-path="[^"]*"| textLength="[^"]*"', "", body)
        last = " last" * (i == len(frames) - 1)
        drawn.append(f'<g class="f{last}" style="animation-name:k{i}">{body}</g>')
    width, height = 16 * 2 + round(COLUMNS * 12.2), 44 + 24.4 * rows + 16
    svg = _FRAME.format(
        width=width,
        height=round(height),
        label=html.escape(f"A terminal: {pieces[0].strip()}"),
        styles=" ".join(styles),
        times=_times(len(frames), seconds),
        frames="\n".join(drawn),
    )
    out.write_text(svg, encoding="utf-8")


def _times(frames: int, seconds: float) -> str:
    """Return the rules that show each frame in turn; the last one stays for a third of the time."""
    share = 66 / max(1, frames - 1)
    rules = [f".f {{ opacity: 0; animation: {seconds}s step-end infinite }}"]
    for i in range(frames):
        hidden = f" {(i + 1) * share:.2f}% {{ opacity: 0 }}" if i < frames - 1 else ""
        begun = f"0% {{ opacity: 0 }} {i * share:.2f}% {{ opacity: 1 }}" if i else "0% { opacity: 1 }"
        end = f"100% {{ opacity: {int(i == frames - 1)} }}"
        rules.append(f"@keyframes k{i} {{ {begun}{hidden} {end} }}")
    return "\n".join(rules)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="what", required=True)
    recorder = kinds.add_parser("record")
    recorder.add_argument("out", type=Path)
    recorder.add_argument("command", nargs=argparse.REMAINDER)
    drawer = kinds.add_parser("draw")
    drawer.add_argument("recorded", type=Path)
    drawer.add_argument("out", type=Path)
    drawer.add_argument("--seconds", type=float, default=15)
    drawer.add_argument("--most", type=int, default=40, help="frames")
    drawer.add_argument("--rows", type=int, default=ROWS)
    given = parser.parse_args()
    if given.what == "record":
        record(given.out, given.command)
    else:
        draw(given.recorded, given.out, seconds=given.seconds, most=given.most, rows=given.rows)


if __name__ == "__main__":
    main()
