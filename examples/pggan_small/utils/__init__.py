"""Reading weights, writing pictures."""
