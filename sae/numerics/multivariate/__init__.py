"""Kernels of the multivariate Fay–Herriot model."""
