"""Common parts of image sources: decoding, the cache of decoded arrays, drawing, augmentation."""
