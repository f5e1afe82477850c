"""Images as features: extractors, a classifier on them, and distances between sets of them."""
