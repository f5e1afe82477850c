"""Does a correction help? Figures with and without it, and the search for its options."""
