"""Characters rendered from fonts: the task source `glyphs`."""
