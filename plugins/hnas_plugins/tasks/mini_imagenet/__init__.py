"""Mini-ImageNet from whichever of its four layouts is there."""
