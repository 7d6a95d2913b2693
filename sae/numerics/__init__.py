"""Compiled kernels and array algebra: arrays in, arrays out; no pandas, no files, no names."""
