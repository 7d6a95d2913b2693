"""Kernels of the nested error model."""
