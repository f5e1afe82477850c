"""Which images have artifacts, and where in them."""
