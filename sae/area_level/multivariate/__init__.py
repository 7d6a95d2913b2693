"""The multivariate Fay–Herriot model."""
