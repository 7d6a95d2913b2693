"""The robust nested error model."""
