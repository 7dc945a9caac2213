"""Phase 2: measure layers, keep them, and price networks by them; the limits on prices."""
