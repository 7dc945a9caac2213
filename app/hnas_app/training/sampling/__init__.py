"""The choice of the architectures that a meta-training iteration trains."""
