"""Unit-level models of classes."""
