"""Multinomial mixed model of counts by area: shares that sum to one, with correlated effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError, name_some
from sae.numerics.random.streams import seed_of
from sae.results import Result
from sae.specs import Specification, split_formula
from sae.specs.priors import Prior, prior_of
from sae.unit_level.glmm.multinomial_nuts import fit_multinomial, read_counts

__all__ = ["MultinomialMixed"]


@dataclass(frozen=True, repr=False)
class MultinomialMixed(Specification):
    """Counts of K categories per area: log(p_dk / p_dK) = x_d'β_k + u_dk, u_d ~ N(0, Σ); Bayes by NUTS.

    Parameters
    ----------
    formula : str
        "employed + unemployed + inactive ~ covariates": columns of counts, the last one the category that the
        others are compared to. Counts may be effective ones, n_eff times the share, and need not be whole.
    domain : str
        Column with the labels of the areas, one row each. A row whose counts are all missing or 0 is an area
        without a sample.
    prior : Prior or str, optional
        Of the standard deviations of the effects: see `sae.priors`; half-normal in the unit of the observed
        logits by default; a proper one. Correlations are LKJ(1), coefficients of standardised covariates
        normal(0, 10).
    level : float
    draws : int
        Kept draws of four chains together.

    References
    ----------
    Molina, Saei and Lombardía (2007), J. R. Stat. Soc. A 170, 975-1000; López-Vizcaíno, Lombardía and Morales
    (2013), Statistical Modelling 13, 153-178.

    Examples
    --------
    >>> spec = MultinomialMixed("employed + unemployed + inactive ~ share_tertiary", domain="city")
    >>> spec.categories
    ('employed', 'unemployed', 'inactive')
    """

    kind: ClassVar[str] = "multinomial_mixed"

    formula: str
    domain: str = "domain"
    prior: Prior | str | None = None
    level: float = 0.95
    draws: int = 4000

    def __post_init__(self) -> None:
        if len(self.categories) < 3 or len(set(self.categories)) < len(self.categories):
            raise SaeSpecError(
                f"The formula counts {name_some(self.categories)}: three categories or more are needed.",
                hint="For two categories use BinomialMixed.",
            )
        if prior_of(self.prior).spare:
            raise SaeSpecError(
                f"prior = {prior_of(self.prior).text!r} is improper; this model needs a proper one.",
                hint='Use prior="half-normal".',
            )
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.draws < 400:
            raise SaeSpecError(f"draws = {self.draws}: at least 400 are needed to judge the chains.")

    @property
    def categories(self) -> tuple[str, ...]:
        """Columns of counts; the last one is the category of reference."""
        return tuple(part.strip().strip("`") for part in split_formula(self.formula)[0].split("+"))

    def _words(self) -> str:
        return f"{self.formula}, multinomial with correlated area effects, NUTS"

    def fit(
        self,
        data: pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Result:
        """Sample the posterior and predict the shares of all categories in every area.

        Parameters
        ----------
        data : DataFrame
            One row per area with its counts.
        areas : DataFrame, optional
            Covariates, joined by name; their areas that `data` lacks are predicted too.
        seed : int or Generator
            There is no default: the same seed gives the same result.

        Returns
        -------
        Result
            One row per area and category; `indicator` names the category.

        Raises
        ------
        SaeInputError
            If a column or covariate is missing, counts are negative or missing in part, or a category is
            never seen; areas and columns are named.
        SaeConvergenceError
            If the chains do not agree.
        SaeSpecError
            If there is no seed.
        """
        if seed is None:
            raise SaeSpecError(
                "This model is fitted by random draws; it has no seed.",
                hint="Call fit(..., seed=1), with any number.",
            )
        counts = read_counts(data, areas, self.categories, split_formula(self.formula)[1], self.domain)
        return fit_multinomial(self, counts, seed_of(seed))
