"""Generators: their numbered layers, their latents, and how to run them past everybody's hooks."""
