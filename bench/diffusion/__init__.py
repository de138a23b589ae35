"""Diffusion models of text that are trained row by row: Gaussian noise on token vectors, and masks on tokens."""
