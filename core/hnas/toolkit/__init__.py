"""Code that several plugins share: files, devices, pictures, rounds of measuring, and the like."""
