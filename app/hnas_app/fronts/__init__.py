"""Fronts of cost against loss, over finished searches."""
