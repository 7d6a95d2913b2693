"""Gram sums and sparse Cholesky factors."""
