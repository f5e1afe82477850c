"""Everything that people look at, in one visual language."""
