"""Kernels of the robust Fay–Herriot models."""
