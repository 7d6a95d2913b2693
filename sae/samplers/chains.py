"""A posterior known by the draws of its chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sae.numerics.inference.psis import psis_loo
from sae.numerics.random.streams import generator
from sae.samplers.posterior import Sample

__all__ = ["ChainPosterior", "taken"]


def taken(sample: Sample, which: np.ndarray) -> Sample:
    """Return some of the draws, each as often as `which` names it."""
    return Sample(
        sample.values[which],
        {name: values[which] for name, values in sample.parameters.items()},
        None if sample.log_likelihood is None else sample.log_likelihood[which],
        None if sample.replicated is None else sample.replicated[which],
    )


@dataclass(frozen=True, eq=False)
class ChainPosterior:
    """Moments and quantiles over the draws of chains; implements `sae.samplers.Posterior`.

    Attributes
    ----------
    sample : Sample
        All draws, chain after chain.
    source : str
    diagnostics : mapping of str to float
    """

    sample: Sample
    source: str
    diagnostics: Mapping[str, float]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""
        return self.sample.values.mean(axis=0), self.sample.values.std(axis=0, ddof=1)

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""
        return np.quantile(self.sample.values, np.atleast_1d(probabilities), axis=0)

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""
        return np.asarray((self.sample.values > threshold).mean(axis=0))

    def draw(self, n: int, seed: int) -> Sample:
        """Return n of the draws in a random order that the seed names; none twice before all were taken."""
        return taken(self.sample, self._chosen(n, seed))

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the true values of all rows alone, shape (n, M)."""
        return self.sample.values[self._chosen(n, seed)]

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others) and its Pareto k, each of shape (n,)."""
        return self._loo

    @cached_property
    def _loo(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.sample.log_likelihood is not None
        return psis_loo(self.sample.log_likelihood)

    def _chosen(self, n: int, seed: int) -> np.ndarray:
        size = len(self.sample.values)
        rounds = [generator(seed, "draws of the chains", k).permutation(size) for k in range(-(-n // size))]
        return np.concatenate(rounds)[:n]
