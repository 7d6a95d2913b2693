"""Fay–Herriot with structured area effects by likelihood: spatial (SAR), over time (AR(1)), or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.effects.options import BOOTSTRAPS
from sae.area_level.effects.panel import Panel
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.linalg.cholesky import factorise
from sae.numerics.spacetime.bootstrap import SpaceTimeBootstrap, bootstrap_spacetime
from sae.numerics.spacetime.fit import (
    PARAMETERS,
    SpaceTimeFit,
    SpaceTimePrediction,
    error_root,
    fit_spacetime,
    observed_information,
    predict_spacetime,
)
from sae.numerics.spacetime.likelihood import ar1
from sae.numerics.spacetime.mse import mse_spacetime
from sae.results import (
    FEW_AREAS,
    Eblup,
    FitTables,
    Interval,
    NormalDraws,
    area_intervals,
    coefficient_index,
    coefficient_table,
    explained_share,
    no_seed,
    pooled_interval,
    t_interval,
)

__all__ = ["fit_structured", "independent_interval", "residuals_of"]


class _Options(NamedTuple):
    """How the MSE and the intervals are to be had."""

    free: tuple[str, ...]
    method: str
    mse: str
    replicates: int
    seed: int | None
    few: bool


@dataclass(frozen=True, eq=False)
class _Error:
    """MSE of the rows, its name, and jointly; errors of the bootstrap, shape (B, M), if there was one."""

    mse: np.ndarray
    name: str
    joint: JointError
    streams: tuple[str, ...]
    errors: np.ndarray | None


def fit_structured(
    panel: Panel,
    free: tuple[str, ...],
    *,
    method: str,
    mse: str,
    level: float,
    replicates: int,
    seed: int | None,
) -> Eblup:
    """Fit a panel whose area effects are spatial or go over time.

    Intervals: with 50 sampled areas or more, and a positive variance, Student's t on the MSE; with fewer,
    pooled quantiles of the bootstrap errors of prediction times √MSE, which needs a seed; with all variances
    estimated 0, the posterior of the model with independent effects, which knows that they may be larger.

    Parameters
    ----------
    panel : Panel
    free : tuple of str
        Parameters that are estimated: see `free_parameters`.
    method : {"reml", "ml"}
    mse : str
        "auto" is the analytical MSE of a map alone, the parametric bootstrap over time.
    level : float
        Of the intervals.
    replicates : int
        Of the bootstrap.
    seed : int or None
        Of the bootstrap.

    Raises
    ------
    SaeSpecError
        If there are fewer than 50 areas, or a bootstrap is to be run, and there is no seed.
    """
    arrays = panel.arrays
    few = len(np.unique(panel.area[panel.rows.sampled])) < FEW_AREAS
    if mse == "auto":
        mse = "bootstrap" if "sigma2_v" in free else "analytical"
    if seed is None and mse != "analytical":
        raise no_seed("The MSE comes from a bootstrap")
    if seed is None and few:
        raise no_seed(f"Intervals with fewer than {FEW_AREAS} areas come from a bootstrap")
    options = _Options(free, method, mse, replicates, seed, few)
    fit = fit_spacetime(panel.problem, free, method=method)
    at = predict_spacetime(panel.problem, fit.parameters[None])
    error = _error(panel, fit, at, options)
    estimate = panel.of_rows(fit.eblup)
    weight = np.diagonal(at.blocks[0] @ np.linalg.inv(panel.problem.psi), axis1=1, axis2=2)
    gamma = np.where(arrays.sampled, panel.of_rows(weight), 0.0)
    at_zero = not (fit.parameters[[0, 2]] > 0).any()
    return Eblup.of(
        estimate,
        error.mse,
        _interval(panel, estimate, error, few=few, at_zero=at_zero, level=level),
        gamma,
        error.name,
        error.joint,
        NormalDraws(estimate, error.joint, TRANSFORMS["identity"], panel.rows.labels, error.streams),
        _tables(panel, fit, options, gamma),
        panel.messages(at_zero),
        {"islands": tuple(panel.islands)},
    )


def _error(panel: Panel, fit: SpaceTimeFit, at: SpaceTimePrediction, options: _Options) -> _Error:
    boot: SpaceTimeBootstrap | None = None
    free, method, mse_option, replicates, seed, few = options
    drawn = "nonparametric" if mse_option.startswith("nonparametric") else "parametric"
    if seed is not None and (few or mse_option in BOOTSTRAPS):
        boot = bootstrap_spacetime(
            panel.problem,
            fit,
            free,
            areas=panel.areas,
            cells=panel.cells,
            replicates=replicates,
            seed=seed,
            method=method,
            kind=drawn,
        )
    errors = None if boot is None else panel.of_rows(boot.errors)
    if boot is not None and errors is not None and mse_option in BOOTSTRAPS:
        mse, name = panel.of_rows(boot.mse), f"{drawn} bootstrap, {replicates} replicates"
        if mse_option.endswith("-corrected"):
            corrected, name = panel.of_rows(boot.corrected), f"{name}, bias-corrected"
            mse = np.where(corrected > 0, corrected, mse)  # the difference of two estimates can be negative
        scale = np.sqrt(mse / (errors**2).mean(axis=0))
        root = sparse.csr_array((errors * scale / np.sqrt(len(errors))).T)
        streams = tuple(f"replicate {b}" for b in range(len(errors)))
        return _Error(mse, name, JointError.of_root(root, mse), streams, errors)
    parts = mse_spacetime(panel.problem, fit, free, method=method)
    whole = panel.of_rows(parts.mse)
    mse = np.where(whole > 0, whole, panel.of_rows(parts.g1 + parts.g2 + 2.0 * parts.g3))
    name = f"analytical, {'Singh–Shukla–Kundu' if 'rho_u' in free else 'Prasad–Rao'}"
    place = panel.area * panel.problem.seen.shape[1] + panel.period
    root = sparse.csr_array(error_root(panel.problem, fit.parameters, at)[place])
    cells = [f"within\x1f{cell}" for cell in panel.cells]
    streams = (*panel.areas, *cells, *panel.arrays.coefficient_labels)
    return _Error(mse, name, JointError.of_root(root, mse), streams, errors)


def independent_interval(panel: Panel, estimate: np.ndarray, mse: np.ndarray, level: float) -> Interval:
    """Intervals where all variances were estimated 0: the posterior of the model with independent effects."""
    arrays = panel.arrays
    ends = area_intervals(
        0.0, estimate, mse, arrays.y, arrays.D, np.ascontiguousarray(arrays.X.T), arrays.sampled, level
    )
    return ends.detailed("independent effects")


def _interval(
    panel: Panel, estimate: np.ndarray, error: _Error, *, few: bool, at_zero: bool, level: float
) -> Interval:
    if at_zero:
        return independent_interval(panel, estimate, error.mse, level)
    if few and error.errors is not None:
        return pooled_interval(estimate, error.mse, error.errors, level)
    m, p = int(panel.arrays.sampled.sum()), panel.arrays.X.shape[1]
    return t_interval(estimate, error.mse, m - p, level)


def _tables(panel: Panel, fit: SpaceTimeFit, options: _Options, gamma: np.ndarray) -> FitTables:
    sampled = panel.arrays.sampled
    fitted = panel.arrays.X @ fit.beta
    effect = fit.parameters[0] + fit.parameters[2] / (1.0 - fit.parameters[3] ** 2)
    p, m, q = len(fit.beta), int(sampled.sum()), len(options.free)
    diagnostics = {
        "areas": len(gamma),
        "sampled": m,
        "coefficients": p,
        "loglik": fit.loglik,
        "aic": 2.0 * (p + q) - 2.0 * fit.loglik,
        "bic": np.log(m) * (p + q) - 2.0 * fit.loglik,
        "r2_marginal": explained_share(float(np.var(fitted[sampled], ddof=1)), effect),
        "gamma_median": float(np.median(gamma[sampled])),
        "islands": len(panel.islands),
    }
    index = coefficient_index(panel.arrays.design.columns)
    return FitTables(
        coefficient_table(fit.beta, np.sqrt(np.diag(fit.beta_cov)), index),
        _components(panel, fit, options),
        pd.DataFrame([diagnostics]),
        residuals_of(panel, fit.parameters, fit.beta_cov, fitted),
    )


def _components(panel: Panel, fit: SpaceTimeFit, options: _Options) -> pd.Series:
    """Parameters with standard errors from the observed information; missing at the boundary."""
    free = options.free
    alive = tuple(name for name in free if fit.parameters[PARAMETERS.index(name) // 2 * 2] > 0)
    se = dict.fromkeys(free, np.nan)
    if alive:
        information = observed_information(panel.problem, fit.parameters, alive, method=options.method)
        square = np.diag(np.linalg.pinv(information))
        se |= dict(zip(alive, np.sqrt(np.where(square > 0, square, np.nan)), strict=True))
    values: dict[str, float] = {}
    for name in free:
        values[name] = float(fit.parameters[PARAMETERS.index(name)])
        values[f"{name}_se"] = float(se[name])
    return pd.Series(values)


def residuals_of(
    panel: Panel, parameters: np.ndarray, beta_cov: np.ndarray, fitted: np.ndarray
) -> pd.DataFrame:
    """Regression residuals of the sampled rows, each over its standard deviation; they are correlated.

    Parameters
    ----------
    panel : Panel
    parameters : ndarray of float, shape (4,)
        sigma2_u, rho_u, sigma2_v, rho_v.
    beta_cov : ndarray of float, shape (p, p)
    fitted : ndarray of float, shape (M,)
    """
    s1, r1, s2, r2 = parameters
    omega = factorise(panel.problem.pattern, panel.problem.omega(np.array([r1])))
    n_times = panel.problem.seen.shape[1]
    effects = s1 * omega.inverse().diagonal()[0][panel.area] + s2 * ar1(r2, n_times)[0][0, 0]
    return panel.residuals(fitted, effects, beta_cov)
