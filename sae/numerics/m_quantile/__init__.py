"""Kernels of M-quantile models: regression, mean squared errors, distributions of areas."""
