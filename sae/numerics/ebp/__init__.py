"""Empirical best prediction: welfare of a whole population from a nested error model of a transformation."""
