"""The commands of `ganfix`, by what they are about. Heavy imports wait until a command runs."""
