"""The M-quantile model."""
