"""Posterior draws: exact where they exist, else importance, Gibbs, or PyMC behind one adapter."""

from sae.samplers.posterior import Posterior, Sample, VarianceNodes

__all__ = ["Posterior", "Sample", "VarianceNodes"]
