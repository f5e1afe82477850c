"""Which generations have artifacts, and where in them."""
