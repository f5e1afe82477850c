"""ganfix beside the code released with [C22], on the same weights, latents and batches."""
