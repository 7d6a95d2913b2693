"""Robust EBLUPs of area means from units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from sae.errors import SaeConvergenceError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.robust.units import UnitFit, fit_units
from sae.numerics.robust.units_bootstrap import bootstrap_units
from sae.results import (
    Eblup,
    FitTables,
    Interval,
    IntervalKind,
    Message,
    NormalDraws,
    boundary,
    coefficient_index,
    coefficient_table,
    no_interval,
    same_source,
)
from sae.unit_level.nested_error.arrays import UnitArrays
from sae.unit_level.nested_error.eblup import posterior_interval
from sae.unit_level.nested_error.tables import area_residuals, shares

__all__ = ["fit_reblup"]

OUTLYING = 3.0  # standard deviations off the regression: farther units are counted, and clipped for intervals
_SOLVED = 1e-8  # of an equation, relative to its terms


def fit_reblup(
    arrays: UnitArrays,
    *,
    k: float,
    c: float,
    corrected: bool,
    level: float,
    replicates: int | None,
    seed: int,
) -> Eblup:
    """Fit, predict and measure the error.

    Parameters
    ----------
    arrays : UnitArrays
    k, c : float
        Tuning constants of Huber's ψ and of the bias correction.
    corrected : bool
        Whether the predictor is the bias-corrected one.
    level : float
        Of the intervals.
    replicates, seed
        Of the bootstrap.

    Raises
    ------
    SaeInputError
        If the units cannot tell the model.
    SaeConvergenceError
        If the robust equations have no solution that could be found.
    """
    means, names, columns = arrays.means, arrays.names, arrays.design.columns
    try:
        fit = fit_units(arrays.y, arrays.X, arrays.area, means, k=k, c=c, corrected=corrected)
    except ValueError as error:
        arrays.refuse(error)
    if not (fit.solutions and fit.residual < _SOLVED):
        raise SaeConvergenceError(
            "The robust equations have no solution that could be found: they are off by "
            f"{fit.residual:.1g} at the best point.",
            hint="Take a larger k, or NestedError; see whether a few areas differ from all others.",
        )
    tally = bootstrap_units(
        fit,
        arrays.X,
        arrays.area,
        means,
        list(names),
        corrected=corrected,
        replicates=replicates,
        seed=seed,
    )
    mse, n = tally.mean, arrays.sums.n
    f = means.sampled(n)
    gamma = n * fit.sigma2_u / (fit.sigma2_e + n * fit.sigma2_u)
    factor = fit.root.T @ (means.x_mean - (f + (1.0 - f) * gamma)[:, None] * arrays.sums.x_mean).T
    joint = JointError.of_fits(mse, [factor * np.minimum(1.0, np.sqrt(mse / _squares(factor)))])
    rest = arrays.y - arrays.X @ fit.coefficients
    spread = np.sqrt(fit.sigma2_u + fit.sigma2_e)
    far = np.abs(rest) > OUTLYING * spread
    ends = _interval(arrays, fit, rest, OUTLYING * spread, level)
    predictor = "REBLUPBC" if corrected else "REBLUP"
    normal = NormalDraws(fit.estimate, joint, TRANSFORMS["identity"], tuple(names), columns, predictor)
    joint, source = same_source([ends], [np.arange(len(mse))], fit.estimate, joint, normal)
    tables = FitTables(
        coefficient_table(fit.coefficients, np.sqrt((fit.root**2).sum(axis=1)), coefficient_index(columns)),
        pd.Series({"sigma2_u": fit.sigma2_u, "sigma2_e": fit.sigma2_e}),
        _diagnostics(arrays, fit, gamma, int(far.sum())),
        area_residuals(arrays, fit.coefficients, fit.root, fit.sigma2_u, fit.sigma2_e, fit.effect),
    )
    return Eblup.of(
        fit.estimate,
        mse,
        ends,
        np.where(arrays.sampled, gamma, np.nan),
        f"parametric bootstrap, {tally.text}",
        joint,
        source,
        tables,
        _messages(arrays, fit, far, ends),
    )


def _squares(factor: np.ndarray) -> np.ndarray:
    total = (factor * factor).sum(axis=0)
    return np.where(total > 0.0, total, 1.0)


def _interval(arrays: UnitArrays, fit: UnitFit, rest: np.ndarray, reach: float, level: float) -> Interval:
    """Quantiles of the posterior with normal effects, residuals clipped; they hold the robust estimate."""
    clipped = arrays.X @ fit.coefficients + np.clip(rest, -reach, reach)
    ends = posterior_interval(replace(arrays, y=clipped), level)
    low, high = np.minimum(ends.low, fit.estimate), np.maximum(ends.high, fit.estimate)
    return replace(ends, low=low, high=high).detailed(f"residuals within {OUTLYING:g} sd")


def _diagnostics(arrays: UnitArrays, fit: UnitFit, gamma: np.ndarray, outlying: int) -> pd.DataFrame:
    sampled = arrays.sampled
    values = {
        "areas": len(sampled),
        "sampled": int(sampled.sum()),
        "units": len(arrays.y),
        "coefficients": len(fit.coefficients),
        **shares(arrays, fit.coefficients, fit.sigma2_u, fit.sigma2_e),
        "gamma_median": float(np.median(gamma[sampled])),
        "outlying": outlying,
        "solutions": fit.solutions,
    }
    return pd.DataFrame([values])


def _messages(arrays: UnitArrays, fit: UnitFit, far: np.ndarray, ends: Interval) -> list[Message]:
    none = ends.kind is IntervalKind.NONE
    messages = [boundary()] if fit.sigma2_u == 0.0 else []
    messages += arrays.messages()
    if far.any():
        areas = dict.fromkeys(arrays.names[arrays.area[far]])
        text = f"{int(far.sum())} of {len(far)} units more than {OUTLYING:g} sd off the regression, in "
        messages.append(Message(f"{text}{name_some(areas)}."))
    return messages + no_interval(np.full(len(arrays.names), none), arrays.names, "so few areas")
