"""Structured area effects: over a map, over time, and the panel that holds both."""
