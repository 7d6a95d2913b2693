"""The two-fold nested error model."""
