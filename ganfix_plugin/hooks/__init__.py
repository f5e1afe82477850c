"""Edits of feature maps and latents, and the hooks that apply them while a generator runs."""
