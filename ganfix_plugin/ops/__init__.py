"""Whole passes over a feature map in one go, native where they have been built."""
