"""What comes of the draws of a fit: joint draws, ArviZ, and how well the posterior predicts the data."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeSpecError
from sae.numerics.random.streams import seed_of
from sae.results.draws import Draws
from sae.results.fitted import Fitted
from sae.samplers import Posterior

if TYPE_CHECKING:
    from sae.auxiliary import Neighbours

__all__ = ["Drawing"]


class Drawing(Fitted):
    """Verbs of a result that draw."""

    @answered
    def draws(self, n: int, seed: int | np.random.Generator | None = None) -> Draws:
        """Return joint draws of all domains; benchmarked results give draws that meet the targets.

        Parameters
        ----------
        n : int
        seed : int or Generator
            There is no default: the same seed gives the same draws.

        Raises
        ------
        SaeSpecError
            If there is no seed.
        """
        if seed is None:
            raise SaeSpecError("draws(...) needs a seed.", hint="Call draws(1000, seed=1), with any number.")
        number = seed_of(seed)
        values = self.source.draw(_draws_of(n), number)
        for benchmark in self.benchmarks:
            values = benchmark.draws(values, number)
        words = f"{self.source.source}, each benchmarked" if self.benchmarks else self.source.source
        return Draws(values, self.row_names(), words)

    @answered
    def to_arviz(self, n: int = 4000, *, seed: int | np.random.Generator | None = None) -> Any:
        """Return joint draws as ArviZ knows them: `InferenceData`, or `DataTree` from ArviZ 1.0 on.

        Groups posterior (`theta` by `domain`, `beta` by `coefficient`, hyperparameters), log_likelihood and
        posterior_predictive and observed_data (`y` by `sampled_domain`). Independent draws stand in 4 chains.

        Parameters
        ----------
        n : int
            Number of draws, a multiple of 4.
        seed : int or Generator

        Raises
        ------
        SaeSpecError
            If the fit is not Bayesian, was benchmarked, or there is no seed.
        """
        from sae.results.posterior_checks import arviz_of

        return arviz_of(
            self._unbenchmarked("to_arviz"),
            self.estimates.frame,
            self.row_names(),
            self.coefficients,
            _draws_of(n),
            seed,
        )

    def loo(self) -> pd.DataFrame:
        """Return how well each direct estimate is predicted from the others.

        Returns
        -------
        DataFrame
            One row per domain with a sample: the columns that tell the rows apart, `elpd` (log predictive
            density of its figure given all others) and `k` (Pareto k, NaN where elpd is exact; above 0.7 it
            is not to be trusted). Models of the same figures are compared by the sum of `elpd`. Of an EBP it
            is the density of all units of an area, in its first row alone.

        Raises
        ------
        SaeSpecError
            If the fit is not Bayesian.

        References
        ----------
        Vehtari, Gelman and Gabry (2017), Stat. Comput. 27, 1413-1432.
        """
        from sae.results.posterior_checks import loo_table

        return loo_table(self._unbenchmarked("loo"), self.estimates.frame, self.row_names())

    @answered
    def predictive_check(
        self,
        n: int = 2000,
        *,
        seed: int | np.random.Generator | None = None,
        neighbours: Neighbours | pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Return whether the model would have produced such data.

        Each direct estimate is placed among those that the model gives to other areas with its covariates and
        sampling, their area effects drawn anew: replicates around the area's own posterior follow any data.
        The distances from their means, in standard deviations, are compared with those of whole sets of such
        figures. It sees areas far
        from all others, effects that are not normal, and sampling variances that are wrong where these differ
        between areas; variances too small by one factor everywhere are taken for area effects, by any model.
        Of a model over a map each figure is placed in its distribution given all others.

        Parameters
        ----------
        n : int
            Number of replicates.
        seed : int or Generator
        neighbours : Neighbours or DataFrame, optional
            A map or edge list, as `sae.auxiliary.neighbours` takes it: whether neighbours are more alike than
            the model says. Without it a spatial structure that was left out is not seen.

        Returns
        -------
        DataFrame
            Rows spread of the distances, outlying (whether some areas lie apart to one side), tails, noise
            (correlation of their size with the sampling variance) and neighbours (Moran's I): `observed`,
            predictive `low`, `median` and `high` (95 % interval), `p_value` (two-sided for spread and noise).
            Row `outside`: the share of direct
            estimates outside their own predictive 95 % interval. Row `overall`: the p-value of all statistics
            together, below 0.05 in about 5 % of data sets that the model made.

        Raises
        ------
        SaeSpecError
            If the fit is not Bayesian or there is no seed.
        SaeInputError
            If the map lacks a domain.

        References
        ----------
        Marshall and Spiegelhalter (2007), Bayesian Analysis 2, 409-444.
        """
        from sae.results.posterior_checks import neighbour_weights, predictive_table

        posterior, frame = self._unbenchmarked("predictive_check"), self.estimates.frame
        near = None if neighbours is None else neighbour_weights(neighbours, frame, self.row_names())
        return predictive_table(posterior, frame, self._noise, near, _draws_of(n), seed)

    def _unbenchmarked(self, verb: str) -> Posterior:
        """Return the posterior of the model, for a verb that is about nothing else."""
        if self.posterior is None:
            name = type(self.spec).__name__
            raise SaeSpecError(
                f"{verb}() needs a posterior; this fit has none.",
                hint='Fit with method="bayes".'
                if hasattr(self.spec, "prior")
                else f"{name} has no Bayesian form; draws(1000, seed=1) draws its predictions.",
            )
        if self.benchmarks:
            raise SaeSpecError(
                f"{verb}() is about the posterior of the model; this result was benchmarked after it.",
                hint="Call it before benchmark(), or take draws() of the benchmarked result.",
            )
        return self.posterior


def _draws_of(n: Any) -> int:
    """Return the number of draws, or refuse what is none."""
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise SaeSpecError(
            f"n = {str(n)[:40]!r} is no number of draws: at least one draw is needed.",
            hint="Give a whole number, such as n=1000.",
        )
    return int(n)
