"""``python -m hnas`` runs ``hnas``; torchrun starts it this way."""

from __future__ import annotations

from hnas_app.cli import main

if __name__ == "__main__":
    main()
