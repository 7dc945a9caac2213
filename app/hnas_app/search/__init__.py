"""Phase 3: search for architectures under limits, scored with super-net weights."""
