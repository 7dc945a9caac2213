"""A small space, super-net and source of tasks: what plugins of other kinds are tried with."""
