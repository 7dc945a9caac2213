"""CIFAR-100, divided into the task sources `fc100` and `cifar-fs`."""
