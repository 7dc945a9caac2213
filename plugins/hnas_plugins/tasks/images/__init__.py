"""What sources of images share: decoding, the cache of decoded arrays, drawing, augmentation."""
