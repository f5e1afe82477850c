"""One page that shows what a correction does to a generator, and how to make it again."""
