"""0/1 outcomes of units: logit model with area effects, for proportions of areas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from sae.results import Result, RunRecord, UnitModel, posterior_result
from sae.specs import split_formula
from sae.specs.priors import Prior, prior_of
from sae.survey import Survey
from sae.unit_level.glmm.logit_bayes import fit_logit
from sae.unit_level.glmm.logit_cells import LogitArrays

__all__ = ["LogitMixed"]


@dataclass(frozen=True, repr=False)
class LogitMixed(UnitModel[Result]):
    """Logit model of units with area effects, for the proportions of areas.

    y_di ~ Bernoulli(P_di), logit P_di = x_di'β + u_d, u_d ~ N(0, σ²), β flat. What is estimated is P_d = Σ_c
    N_dc expit(x_c'β + u_d) / N_d over the cells c of the population: the expected proportion, units in the
    sample not counted as known. The share of the N_d people of an area has chance of its own about it, of
    variance P_d (1 - P_d) / N_d if they are independent, and more of people of one household; a message says
    where that matters.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates" of units. The outcome is 0 or 1, or a count of successes.
    domain : str
        Column with the areas' labels, in units and population.
    trials : str, optional
        Column with the trials of counts, in data that are summed already. By default every row is one trial.
    population : str, optional
        Column of `areas` with the numbers of people of each cell. By default every row is one person.
    prior : Prior or str, optional
        Of σ: see `sae.priors`. By default half-normal; a scale left out is the standard deviation of the
        areas' empirical logits.
    level : float
        Of the intervals.

    Notes
    -----
    Units with equal covariates are summed to cells. Area effects are integrated by the trapezoid rule,
    hyperparameters by weighted points of which `Result.diagnostics` gives Pareto k and the effective number.
    The fit draws no random numbers.

    ``areas`` of `fit` holds the population: one row per area and cell, or per person, with the covariates. It
    is not needed for a formula without covariates.

    References
    ----------
    Rao and Molina (2015), Small Area Estimation, 2nd ed., section 10.13; Malec, Sedransk, Moriarity and
    LeClere (1997), J. Am. Stat. Assoc. 92, 815-826.

    Examples
    --------
    >>> units = pd.DataFrame({"city": list("AAAABBBBCCCC"), "old": [0, 0, 1, 1] * 3,
    ...                       "employed": [1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1]})
    >>> cells = pd.DataFrame({"city": list("AABBCCDD"), "old": [0, 1] * 4,
    ...                       "N": [50, 70, 90, 20, 40, 40, 30, 60]})
    >>> fit = sae.LogitMixed("employed ~ old", domain="city", population="N").fit(units, areas=cells)
    >>> fit.estimates["estimate"].round(1).tolist()  # D has no sample
    [0.5, 0.6, 0.4, 0.5]
    """

    kind: ClassVar[str] = "logit_mixed"

    trials: str | None = None
    population: str | None = None
    prior: Prior | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        prior_of(self.prior)

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"Unit-level logit, Bayes: {self.formula}"

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        return (
            f"Unit-level logit: models {outcome} by {covariates} and an area effect; posterior by "
            f"quadrature, {prior_of(self.prior).text} prior"
        )

    def _fit(
        self, data: pd.DataFrame | Survey, areas: pd.DataFrame | str | Path | None, seed: int | None
    ) -> Result:
        outcome, covariates = split_formula(self.formula)
        arrays = LogitArrays.build(
            data,
            areas,
            outcome=outcome,
            covariates=covariates,
            domain=self.domain,
            trials=self.trials,
            population=self.population,
        )
        counted = areas is not None
        posterior = fit_logit(arrays, prior=self.prior, level=self.level, counted=counted)
        record = RunRecord("Unit-level logit (Bayes)", "posterior mean", arrays.run_id(self))
        return posterior_result(self, arrays.rows(outcome), arrays.data, posterior, record)
