"""A thermal camera: 16-bit pictures of hundredths of a kelvin."""
