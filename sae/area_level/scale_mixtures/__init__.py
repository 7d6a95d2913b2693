"""Fay–Herriot models whose effects or coefficients are scale mixtures of normals."""
