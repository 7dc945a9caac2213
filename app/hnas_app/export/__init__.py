"""Networks as files for use without hnas: ONNX models that classify one image at a time, with metadata."""
