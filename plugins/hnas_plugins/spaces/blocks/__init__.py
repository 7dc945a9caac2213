"""What the convolutional spaces are built of: layers, blocks of their super-nets, and the passes through them."""
