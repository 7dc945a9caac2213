"""Settings that the application's presets add for a built-in space."""

RESNET12 = {name: {"space": {"base_width": width}} for name, width in {"quick": 8, "small": 16, "paper": 32}.items()}
DARTS = {name: {"space": {"cells": cells, "channels": 8}} for name, cells in {"quick": 3, "small": 5}.items()}
