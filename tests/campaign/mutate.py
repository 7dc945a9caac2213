"""Wrong bytes, texts and JSON values, drawn from a generator."""

from __future__ import annotations

import json
import random
from typing import Any

WORDS = (
    "", " ", "0", "-1", "1", "2", "-0", "1e308", "1e-320", "1e999", "nan", "-inf", "inf", "None", "null", "true",
    "٣", "１２", "1_000", "0x10", "1,5", "½", "9" * 400, str(2**63), str(10**30),
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
    "\x07", "a\nb", "a\rb", "\x9b31m", "\u202eabc", "é", "日本", "🦊", "\ud800", "\ufeff", "'", '"', "`id`", "$(id)",
    "%s%n", "{}", "[]", "{0}", "../..", "/", "~", "~root", ".", "-", "--", "--help", "=", "=1", "a=b", ":", "a:b",
    "x" * 5000,
    "[" * 100_000, "{" * 5000, '{"a":' * 20_000, "(" * 3000,
)  # fmt: skip
"""Texts that programs stumble over."""
NUMBERS = (0, -1, 1, 2, 3, 7, 255, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"))


def word(rng: random.Random) -> str:
    """Return a text, sometimes a random one."""
    if rng.random() < 0.85:
        return rng.choice(WORDS)
    return "".join(chr(rng.choice((rng.randrange(1, 128), rng.randrange(1, 0xD800)))) for _ in range(rng.randrange(30)))


def damaged(rng: random.Random, content: bytes, other: bytes = b"") -> tuple[str, bytes]:
    """Return what was done to a file's content, and the result, which differs from it."""
    if not content:
        return "a byte more", bytes([rng.randrange(256)])
    at = rng.randrange(len(content))
    kind = rng.choice(("bit", "bit", "digit", "cut", "empty", "zeros", "noise", "lines", "swapped", "joined", "middle"))
    if kind == "bit":
        found = bytearray(content)
        found[at] ^= 1 << rng.randrange(8)
        return f"bit flipped in byte {at}", bytes(found)
    digits = [i for i, byte in enumerate(content[:200_000]) if 48 <= byte < 58]
    if kind == "digit" and digits:
        found, at = bytearray(content), rng.choice(digits)
        found[at] = 48 + (found[at] - 48 + rng.randint(1, 9)) % 10
        return f"another digit in byte {at}", bytes(found)
    if kind == "empty":
        return "empty", b""
    if kind == "zeros":
        return f"zeros from byte {at} on", content[:at] + bytes(len(content) - at)
    if kind == "noise":
        return "noise", rng.randbytes(min(len(content), 4096))
    if kind == "lines" and content.count(b"\n") > 1:
        lines = content.splitlines(keepends=True)
        i = rng.randrange(len(lines))
        if rng.random() < 0.5:
            return f"line {i + 1} twice", b"".join([*lines[: i + 1], *lines[i:]])
        return f"without line {i + 1}", b"".join(lines[:i] + lines[i + 1 :])
    if kind == "swapped" and other not in (b"", content):
        return "another file's content", other
    if kind == "joined":
        return "twice", content + content
    if kind == "middle":
        return f"without bytes {at} to {at + 7}", content[:at] + content[at + 7 :]
    return f"cut to {at} bytes", content[:at]


def wrong_json(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """Return a JSON value with something in it exchanged, taken out, or of another shape."""
    if isinstance(value, dict) and value and rng.random() < 0.9 - 0.1 * depth:
        found, key = dict(value), rng.choice(list(value))
        if (what := rng.random()) < 0.12:
            del found[key]
        elif what < 0.2:
            found[word(rng)] = found[key]
        else:
            found[key] = wrong_json(rng, found[key], depth + 1)
        return found
    if isinstance(value, list) and value and rng.random() < 0.8:
        found_list, i = list(value), rng.randrange(len(value))
        found_list[i] = wrong_json(rng, value[i], depth + 1)
        return found_list
    nested: Any = []
    for _ in range(rng.choice((1, 40, 400))):
        nested = [nested]
    return rng.choice(
        (None, True, {}, [], "", word(rng), rng.choice(NUMBERS), rng.choice(NUMBERS), nested, [value], {"a": value})
    )


def json_bytes(rng: random.Random, value: Any) -> bytes:
    """Return a wrong JSON value as a file's content, sometimes one that is no JSON at all."""
    try:
        content = json.dumps(wrong_json(rng, value)).encode("utf-8", "surrogatepass")
    except RecursionError:
        content = b"[" * 5000
    if rng.random() < 0.25:
        return damaged(rng, content)[1]
    return rng.choice((b"[" * 100_000, b'{"a":' * 50_000, b"\xef\xbb\xbf" + content)) if rng.random() < 0.1 else content
