"""Multinomial mixed model of counts by area: shares that sum to one, with correlated effects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from sae.errors import SaeSpecError, name_some
from sae.results import Result, RunRecord, UnitModel, posterior_result
from sae.samplers.chains import check_draws
from sae.specs import split_formula
from sae.specs.priors import Prior, prior_of
from sae.survey import Survey
from sae.unit_level.glmm.multinomial_counts import Counts
from sae.unit_level.glmm.multinomial_fit import fit_multinomial

__all__ = ["MultinomialMixed"]


@dataclass(frozen=True, repr=False)
class MultinomialMixed(UnitModel[Result]):
    """Counts of K categories per area: log(p_dk / p_dK) = x_d'β_k + u_dk, u_d ~ N(0, Σ); Bayes.

    Parameters
    ----------
    formula : str
        "employed + unemployed + inactive ~ covariates": columns of counts, the last one the category that the
        others are compared to. Counts may be effective ones, n_eff times the share, and need not be whole.
    domain : str
        Column with the labels of the areas, one row each. A row whose counts are all missing or 0 is an area
        without a sample. Or one row per person, as a survey has them, with 1 in the column of the person's
        category and 0 in the others: these are counted by area, covariates that differ between them left out.
    prior : Prior or str, optional
        Of the standard deviations of the effects: see `sae.priors`; half-normal in the unit of the observed
        logits by default; a proper one. Correlations are LKJ(1), coefficients of standardised covariates
        normal(0, 10).
    level : float
    draws : int
        Kept draws of eight chains together; 4,000 are kept where fewer are asked for.

    Notes
    -----
    ``areas`` of `fit` holds covariates, one row per area, joined by name; its areas that the data lack are
    predicted too. The result has one row per area and category; `indicator` names the category.

    References
    ----------
    Molina, Saei and Lombardía (2007), J. R. Stat. Soc. A 170, 975-1000; López-Vizcaíno, Lombardía and Morales
    (2013), Statistical Modelling 13, 153-178.

    Examples
    --------
    >>> spec = sae.MultinomialMixed("employed + unemployed + inactive ~ share_tertiary", domain="city")
    >>> spec.categories
    ('employed', 'unemployed', 'inactive')
    """

    kind: ClassVar[str] = "multinomial_mixed"

    prior: Prior | str | None = None
    draws: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
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
        check_draws(self.draws)

    @property
    def categories(self) -> tuple[str, ...]:
        """Columns of counts; the last one is the category of reference."""
        return tuple(part.strip().strip("`") for part in split_formula(self.formula)[0].split("+"))

    def _description(self) -> str:
        return f"{self.formula}, multinomial with correlated area effects"

    @property
    def _random_step(self) -> str:
        return "The posterior comes from a sampler"

    def _fit(
        self, data: pd.DataFrame | Survey, areas: pd.DataFrame | str | Path | None, seed: int | None
    ) -> Result:
        assert seed is not None  # there is a random step
        counts = Counts.build(
            data,
            areas,
            categories=self.categories,
            covariates=split_formula(self.formula)[1],
            domain=self.domain,
        )
        posterior = fit_multinomial(counts, prior=self.prior, draws=self.draws, level=self.level, seed=seed)
        record = RunRecord("Multinomial mixed (Bayes)", "posterior mean", counts.run_id(self, seed), seed)
        return posterior_result(self, counts.rows, counts.data, posterior, record)
