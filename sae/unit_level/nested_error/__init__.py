"""The nested error model."""
