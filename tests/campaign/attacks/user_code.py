"""Plugins of a user's own that raise, exit, print, return nonsense or take long in any of their methods."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests.campaign.bed import Bed
from tests.campaign.verdict import faults, last, read_json

BASES = {
    "backend": ("hnas_backends.eyeriss", "backend.Eyeriss", "options.EyerissOptions", ("describe", "measure", "slot")),
    "space": ("hnas_plugins.spaces.vgg9", "space.VGG9", "options.VGG9Options", ("layers", "supernet", "reference")),
    "learner": (
        "hnas_plugins.meta_learners",
        "maml.MAML",
        "options.MAMLPlusPlusOptions",
        ("init", "gradient", "update", "adapt", "score"),
    ),
    "strategy": (
        "hnas_strategies",
        "genetic.Genetic",
        "genetic.GeneticOptions",
        ("start", "ask", "tell"),
    ),
    "tasks": ("hnas_plugins.tasks.glyphs", "source.Glyphs", "source.GlyphsOptions", ("n_classes", "sample")),
}
"""Each kind: a built-in that the user's class inherits from, its options, and methods to spoil."""
TRICKS = {
    "does what it should": "return super().{method}(*words, **named)",
    "raises": 'raise ValueError("\\x1b[31mno\\x07")',
    "raises a bare exception": "raise BaseException('x')",
    "exits with 0": "sys.exit(0)",
    "exits with a text": 'sys.exit("\\x1b[31mbye")',
    "prints": 'print("noise \\x1b[31m"); return super().{method}(*words, **named)',
    "returns nothing": "super().{method}(*words, **named); return None",
    "returns a text": 'super().{method}(*words, **named); return "\\x1b[31mtext"',
    "returns nan": "super().{method}(*words, **named); return float('nan')",
    "returns spoilt numbers": "return spoil(super().{method}(*words, **named))",
    "takes a second": "time.sleep(1); return super().{method}(*words, **named)",
    "recurses": "return self.{method}(*words, **named)",
    "fails to close": "return super().{method}(*words, **named)",
}
MODULE = '''"""A plugin that does harm."""
import os, sys, time, math
import attrs
from {base_module} import {base} as Base
from {options_module} import {options} as Given
{at_import}


def spoil(value):
    """Exchange numbers in what a built-in returned."""
    import torch
    if isinstance(value, torch.Tensor):
        return value * math.nan
    if isinstance(value, dict):
        return {{k: spoil(v) for k, v in value.items()}}
    if isinstance(value, (tuple, list)):
        return type(value)(spoil(v) for v in value)
    if isinstance(value, (int, float)):
        return -value
    if attrs.has(type(value)):
        held = {{f.name: getattr(value, f.name) for f in attrs.fields(type(value)) if f.init}}
        spoilt = {{n: spoil(v) for n, v in held.items() if isinstance(v, (int, float, torch.Tensor))}}
        return attrs.evolve(value, **spoilt)
    if hasattr(value, "__next__"):
        return (spoil(v) for v in value)
    return value


class Hostile(Base):
    Options = Given

    def {method}(self, *words, **named):
        {body}

    def close(self):
        {close}
'''


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Run a tiny run with one hostile plugin."""
    kind = rng.choice(sorted(BASES))
    package, base, options, methods = BASES[kind]
    trick, method = rng.choice(sorted(TRICKS)), rng.choice(methods)
    body = TRICKS[trick].format(method=method)
    imports = (
        rng.choice(("sys.exit(0)", "print('noise')", "raise RuntimeError('\\x1b[31m')")) if rng.random() < 0.2 else ""
    )
    close = rng.choice(("raise OSError('x')", "sys.exit(0)", "time.sleep(2)")) if trick == "fails to close" else "pass"
    where = {f"{n}_module": f"{package}.{c.partition('.')[0]}" for n, c in (("base", base), ("options", options))}
    names = {"base": base.partition(".")[2], "options": options.partition(".")[2]}
    text = MODULE.format(**where, **names, method=method, body=body, close=close, at_import=imports)
    (folder / "hostile.py").write_text(text)
    run = folder / "run"
    words = [*bed.run_words(run), f"--{kind}", "./hostile.py:Hostile", "--json"]
    child = bed.start(words, home=bed.warm_home, cwd=folder)
    done = child.wait(120)
    told = f"a {kind} whose {method} {trick}" + (f", {imports!r} at import" if imports else "") + f", close: {close}"
    allowed = 1 if "raise" in body + imports + close or "self." in body else None  # the user's own error
    yield from (f"{told}: {f}" for f in faults(done, seconds=120) if not (done.code == allowed and "unexpected" in f))
    if done.code == 0 and (read_json(done) is None or not (run / "evaluate.json").exists()):
        yield f"{told}: exit 0, and no results: {last(done.out + done.err)!r}"
    if trick == "does what it should" and not imports and done.code != 0:
        yield f"{told}: exit code {done.code}: {last(done.err)}"
    if left := child.left_over():
        yield f"{told}: processes are left: {left}"
