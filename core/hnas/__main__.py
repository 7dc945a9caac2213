"""``python -m hnas`` is ``hnas``: what torchrun starts."""

from __future__ import annotations

from hnas_app.cli import main

if __name__ == "__main__":
    main()
