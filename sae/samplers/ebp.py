"""The posterior predictive distribution of indicators of welfare, by independent draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sae.numerics.ebp.posterior import ParameterDraws, ScalePosterior
from sae.samplers.chains import ChainPosterior, random_order, taken
from sae.samplers.posterior import Sample

__all__ = ["EbpPosterior"]


@dataclass(frozen=True, eq=False)
class EbpPosterior(ChainPosterior):
    """Draws of the figures of all rows, each row of draws from one simulated population.

    The observed figures are what the units of the sample alone say; what is replicated are the same of other
    samples with the covariates of these units. An area is left out with all its units, whatever rows it has:
    its density stands in one of them.

    Attributes
    ----------
    model : ScalePosterior
    drawn : ParameterDraws
        Of the same draws as `sample`, which has figures and parameters.
    observe : callable
        From draws of the parameters to figures of simulated samples, shape (S, n).
    areas : ndarray of int, shape (n,)
        Which sampled area each observed figure stands for in `loo`; -1 of all others.
    """

    model: ScalePosterior
    drawn: ParameterDraws
    observe: Callable[[ParameterDraws], np.ndarray]
    fresh_draws: Callable[[], ParameterDraws]
    areas: np.ndarray

    def draw(self, n: int, seed: int) -> Sample:
        """Return n of the draws in a random order that the seed names, with replicated figures."""
        whole = Sample(self.sample.values, self.sample.parameters, replicated=self._replicated)
        return taken(whole, random_order(len(self.sample.values), n, seed))

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures of samples of areas with effects of their own: see `Posterior.fresh`."""
        return self._fresh[random_order(len(self._fresh), n, seed)]

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(units of an area | the other areas) by quadrature, in one row of each area."""
        inside = self.areas >= 0
        value = np.where(inside, self._left_out[np.where(inside, self.areas, 0)], np.nan)
        return value, np.full(len(value), np.nan)

    @cached_property
    def _left_out(self) -> np.ndarray:
        return self.model.leave_area_out()

    @cached_property
    def _replicated(self) -> np.ndarray:
        return self.observe(self.drawn)

    @cached_property
    def _fresh(self) -> np.ndarray:
        return self.observe(self.fresh_draws())
