"""0/1 outcomes of units: logit model with area effects, for proportions of areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError
from sae.numerics.glmm.unit_kernels import expected
from sae.results import Result, parameter_columns, posterior_joint, posterior_result, weighted_summary
from sae.samplers.cells import CellsPosterior
from sae.specs import Specification, split_formula
from sae.specs.priors import Prior, prior_of
from sae.survey import Survey
from sae.unit_level.glmm.logit_cells import LogitProblem

__all__ = ["LogitMixed"]

_POINTS = 64  # of the hyperparameters for residuals


@dataclass(frozen=True, repr=False)
class LogitMixed(Specification):
    """Logit model of units with area effects, for the proportions of areas.

    y_di ~ Bernoulli(P_di), logit P_di = x_di'β + u_d, u_d ~ N(0, σ²), β flat. What is estimated is P_d = Σ_c
    N_dc expit(x_c'β + u_d) / N_d over the cells c of the population: the expected proportion, units in the
    sample not counted as known.

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
    >>> fit = LogitMixed("employed ~ old", domain="city", population="N").fit(units, areas=cells)
    >>> fit.estimates["estimate"].round(1).tolist()  # D has no sample
    [0.5, 0.6, 0.4, 0.5]
    """

    kind: ClassVar[str] = "logit_mixed"

    formula: str
    domain: str = "domain"
    trials: str | None = None
    population: str | None = None
    prior: Prior | str | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        split_formula(self.formula)
        prior_of(self.prior)
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")

    @property
    def words(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"Unit-level logit, Bayes: {self.formula}"

    def _words(self) -> str:
        outcome, covariates = split_formula(self.formula)
        return (
            f"Unit-level logit: models {outcome} by {covariates} and an area effect; posterior by "
            f"quadrature, {prior_of(self.prior).text} prior"
        )

    def fit(
        self,
        data: pd.DataFrame | Survey,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Result:
        """Fit the model and predict the proportion of every area of the population.

        Parameters
        ----------
        data : DataFrame or Survey
            One row per unit, or per cell with its trials.
        areas : DataFrame, optional
            The population: one row per area and cell, or per person, with the covariates; matched by name.
            Areas without units in the sample are predicted too. Needed where the formula has covariates.
        seed : int or Generator, optional
            Nothing in the fit is random; ``Result.draws`` takes its own seed.

        Returns
        -------
        Result

        Raises
        ------
        SaeInputError
            If a column, area, level or covariate is missing or unknown, outcomes are no successes, or the
            posterior is improper; areas, rows or columns are named.
        SaeConvergenceError
            If the weights of the hyperparameters are not to be trusted.
        """
        outcome, covariates = split_formula(self.formula)
        problem = LogitProblem.build(
            data, areas, outcome=outcome, covariates=covariates, domain=self.domain, trials=self.trials,
            population=self.population,
        )  # fmt: skip
        guess = problem.guess
        unit = float(np.std(guess, ddof=1)) if len(guess) > 1 else 1.0
        prior = prior_of(self.prior).scaled(float(f"{unit:.3g}"))
        problem.check_proper(prior)
        posterior = CellsPosterior(problem.cells, problem.population, prior.code, list(problem.names))
        return _result(self, problem, posterior, prior)


def _result(spec: LogitMixed, problem: LogitProblem, posterior: CellsPosterior, prior: Prior) -> Result:
    sd = posterior.moments()[1]
    beta, sigma, weights = posterior.parameters()
    tail = 0.5 * (1.0 - spec.level)
    level = np.array([tail, 0.5, 1.0 - tail])
    mean, spread, ends = weighted_summary(beta, weights, level)
    coefficients = pd.DataFrame(
        {"coef": mean, "sd": spread, **dict(zip(("low", "median", "high"), ends, strict=True))},
        index=pd.Index(list(problem.design.columns), name="term"),
    )
    variances: dict[str, np.ndarray] = {}
    for name, values in (("sigma2_u", sigma**2), ("sigma_u", sigma)):
        found = weighted_summary(values[:, None], weights, level)
        variances |= parameter_columns(name, found[0], found[1], *found[2])
    cells, (y, n) = problem.cells, problem.cells.totals
    explained = float(
        np.average((cells.X @ mean - np.average(cells.X @ mean, weights=cells.n)) ** 2, weights=cells.n)
    )
    return posterior_result(
        spec, posterior, _table(problem, y, n, split_formula(spec.formula)[0]),
        groups=(),
        in_sample=n > 0,
        prior=prior.text,
        joint=posterior_joint(sd**2, posterior.shared()),
        title="Unit-level logit (Bayes)",
        model=spec.words,
        run=problem.run_id(spec.to_toml()),
        seed=None,
        coefficients=coefficients,
        variance_components=pd.DataFrame(variances).iloc[0].rename(None),
        diagnostics=pd.DataFrame([{
            "areas": len(n), "sampled": int((n > 0).sum()), "units": problem.units, "cells": len(cells.y),
            "coefficients": len(mean),
            "r2_marginal": explained / (explained + float(weights @ sigma**2) + np.pi**2 / 3.0),
        }]),
        residuals=_residuals(problem, posterior, y, n),
        areas=problem.frame,
        bounds=(0.0, 1.0),
        provenance={"units": problem.units},
    )  # fmt: skip


def _table(problem: LogitProblem, y: np.ndarray, n: np.ndarray, outcome: str) -> pd.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        direct = np.where(n > 0, y / n, np.nan)
        se = np.sqrt(direct * (1.0 - direct) / n)
        se = np.where(se > 0.0, se, np.nan)  # equal outcomes say that they are few, not that they are certain
        cv = se / direct
    return pd.DataFrame({
        "indicator": outcome, "definition": "", "unit": "share", "geo": problem.names, "time": "",
        "domain": problem.names, "n": n, "direct": direct, "direct_se": se, "direct_cv": cv,
    })  # fmt: skip


def _residuals(
    problem: LogitProblem, posterior: CellsPosterior, y: np.ndarray, n: np.ndarray
) -> pd.DataFrame:
    """Sample shares less what the model says of an area with these units whose outcomes nobody saw."""
    own, place = posterior.own, np.flatnonzero(n > 0)
    index = posterior.fit.spread(_POINTS)
    mean, square = expected(
        own.X[:0], own.y[:0], own.n[:0], np.zeros_like(own.starts[: len(place) + 1]),
        own.X, own.n, own.starts[np.append(place, len(n))],
        posterior.fit.beta[index], np.exp(posterior.fit.log_sigma[index]),
    )  # fmt: skip
    fitted = mean.mean(axis=0)
    spread = np.maximum(square.mean(axis=0) - fitted**2, 0.0) + fitted * (1.0 - fitted) / n[place]
    residual = y[place] / n[place] - fitted
    return pd.DataFrame({
        "domain": problem.names[place], "fitted": fitted, "residual": residual,
        "standardised": residual / np.sqrt(spread), "leverage": np.nan,
    }, index=pd.Index(place, name="row"))  # fmt: skip
