"""Kernels of the Fay–Herriot model: fit, error, bootstrap, posterior."""
