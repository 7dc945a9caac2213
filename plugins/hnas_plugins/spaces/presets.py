"""Settings that the application's presets add for a built-in space."""

RESNET12 = {name: {"space": {"base_width": width}} for name, width in {"quick": 8, "small": 16, "paper": 32}.items()}
