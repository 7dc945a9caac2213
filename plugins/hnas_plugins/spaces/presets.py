"""What the application's presets say for a built-in space, beside what they say for every space."""

RESNET12 = {name: {"space": {"base_width": width}} for name, width in {"quick": 8, "small": 16, "paper": 32}.items()}
