"""A synthetic country with a known truth: population, samples, registers, map."""

from sae.datasets.synthetic_country import Country, country, lfs_like, lfs_like_areas

__all__ = ["Country", "country", "lfs_like", "lfs_like_areas"]
