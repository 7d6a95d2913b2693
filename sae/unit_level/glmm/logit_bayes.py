"""The posterior of the logit model of units, as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.errors import name_some
from sae.numerics.glmm.unit_kernels import expected
from sae.numerics.inference.priors import data_unit
from sae.results import (
    FitTables,
    Message,
    PosteriorFit,
    coefficient_index,
    credible_table,
    parameter_columns,
    posterior_joint,
    residual_table,
    weighted_summary,
)
from sae.samplers.cells import CellsPosterior
from sae.specs.priors import Prior, prior_of
from sae.unit_level.glmm.logit_cells import LogitArrays

__all__ = ["fit_logit"]

_POINTS = 64  # of the hyperparameters for residuals
_FEW = 0.1  # of a posterior variance that chance among the people of an area may have without a word


def fit_logit(
    arrays: LogitArrays, *, prior: Prior | str | None, level: float, counted: bool = True
) -> PosteriorFit:
    """Integrate the posterior.

    Parameters
    ----------
    arrays : LogitArrays
    prior : Prior, str or None
        Of σ, as a specification has it.
    level : float
        Of the intervals.
    counted : bool
        Whether the population is that of the areas, and no stand-in where nothing is known of it.

    Raises
    ------
    SaeInputError
        If the posterior is improper.
    SaeConvergenceError
        If the weights of the hyperparameters are not to be trusted.
    """
    resolved = prior_of(prior).scaled(data_unit(arrays.logits))
    arrays.check_proper(resolved)
    posterior = CellsPosterior(arrays.cells, arrays.population, resolved.code, list(arrays.names))
    beta, sigma, weights = posterior.parameters()
    tail = 0.5 * (1.0 - level)
    probabilities = np.array([tail, 0.5, 1.0 - tail])
    mean, sd, ends = weighted_summary(beta, weights, probabilities)
    variances: dict[str, np.ndarray] = {}
    for name, values in (("sigma2_u", sigma**2), ("sigma_u", sigma)):
        center, error, quantiles = weighted_summary(values[:, None], weights, probabilities)
        variances |= parameter_columns(name, center, error, *quantiles)
    return PosteriorFit(
        posterior,
        posterior_joint(posterior.moments()[1] ** 2, posterior.shared()),
        resolved.text,
        FitTables(
            credible_table(mean, sd, ends, coefficient_index(arrays.design.columns)),
            pd.DataFrame(variances).iloc[0].rename(None),
            _diagnostics(arrays, mean, float(weights @ sigma**2)),
            _residuals(arrays, posterior),
        ),
        bounds=(0.0, 1.0),
        messages=(*arrays.messages(), *(_few_people(arrays, posterior) if counted else ())),
    )


def _few_people(arrays: LogitArrays, posterior: CellsPosterior) -> list[Message]:
    """Name the areas whose people are so few that their share is not the expected one."""
    mean, sd = posterior.moments()
    people = np.add.reduceat(arrays.population.size, arrays.population.starts[:-1])
    few = arrays.names[mean * (1.0 - mean) / people > _FEW * sd**2]
    if not len(few):
        return []
    return [
        Message(
            f"The proportions are those to be expected. In {len(few)} of {len(mean)} areas the share "
            "of the people there differs from it by chance enough to matter, and an interval of that share "
            f"is wider: {name_some(few)}."
        )
    ]


def _diagnostics(arrays: LogitArrays, coefficients: np.ndarray, sigma2_u: float) -> pd.DataFrame:
    cells, sampled = arrays.cells, arrays.sampled
    fitted = cells.X @ coefficients
    explained = float(np.average((fitted - np.average(fitted, weights=cells.n)) ** 2, weights=cells.n))
    noise = np.pi**2 / 3.0  # variance of the logistic distribution
    return pd.DataFrame(
        [
            {
                "areas": len(sampled),
                "sampled": int(sampled.sum()),
                "units": len(arrays.y),
                "cells": len(cells.y),
                "coefficients": len(coefficients),
                "r2_marginal": explained / (explained + sigma2_u + noise),
                "r2_conditional": (explained + sigma2_u) / (explained + sigma2_u + noise),
                "icc": sigma2_u / (sigma2_u + noise),
            }
        ]
    )


def _residuals(arrays: LogitArrays, posterior: CellsPosterior) -> pd.DataFrame:
    """Sample shares less what the model says of an area with these units whose outcomes nobody saw."""
    own, (y, n), rows = posterior.own, arrays.cells.totals, np.flatnonzero(arrays.sampled)
    index = posterior.fit.spread(_POINTS)
    mean, square = expected(
        own.X[:0],
        own.y[:0],
        own.n[:0],
        np.zeros_like(own.starts[: len(rows) + 1]),
        own.X,
        own.n,
        own.starts[np.append(rows, len(n))],
        posterior.fit.beta[index],
        np.exp(posterior.fit.log_sigma[index]),
    )
    fitted = mean.mean(axis=0)
    variance = np.maximum(square.mean(axis=0) - fitted**2, 0.0) + fitted * (1.0 - fitted) / n[rows]
    residual = y[rows] / n[rows] - fitted
    return residual_table(rows, arrays.names[rows], fitted, residual, residual / np.sqrt(variance), np.nan)
