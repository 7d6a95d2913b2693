"""Kernels of effects over space and time: likelihood and posterior."""
