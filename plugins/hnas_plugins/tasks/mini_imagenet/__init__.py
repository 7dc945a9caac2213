"""Mini-ImageNet from any of its four layouts."""
