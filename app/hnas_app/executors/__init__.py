"""Where work runs: in this process, its threads, local worker processes, a Ray cluster, or the ranks of torchrun."""
