"""Makes `supernet_checks` importable for the tests of super-nets."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
