"""Which architectures a meta-training iteration trains."""
