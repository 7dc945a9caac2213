"""Phases 1 and 4: meta-train weights, re-train a network alone, evaluate it."""
