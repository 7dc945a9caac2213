"""The task source `glyphs`: characters rendered from fonts."""
