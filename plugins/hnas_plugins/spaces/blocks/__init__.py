"""The parts of the convolutional spaces: layers, blocks of their super-nets, and the passes through them."""
