"""Time single layers with a small C program: one that is the same on this host and on a board over SSH.

The program reads one line for each layer, or for each chain of layers, and answers with one line of JSON as
soon as that is measured: raw samples, and checksums of what it computed. Inputs and weights come from a hash of their
position, so `oracle` computes the same with numpy and a device that computes something else is refused. It needs a libc
and a kernel, nothing else.

`program` has its sources and builds it for this machine, `session` speaks with a running one, `lines` writes what it
reads and reads what it writes, and `oracle` verifies that.
"""
