"""Fay–Herriot with structured area effects by likelihood: spatial (SAR), over time (AR(1)), or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.arrays import refuse_unit
from sae.area_level.effects.options import BOOTSTRAPS
from sae.area_level.effects.panel import Panel
from sae.area_level.effects.spatial import SpatialEffect
from sae.area_level.effects.temporal import AR1, RandomWalk
from sae.area_level.fay_herriot.structured_bayes import field_of
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.linalg.cholesky import factorise
from sae.numerics.spacetime.bootstrap import bootstrap_spacetime
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
    IntervalKind,
    NormalDraws,
    coefficient_index,
    coefficient_table,
    explained_share,
    field_intervals,
    no_interval,
    no_seed,
    same_source,
    t_interval,
)

__all__ = ["fit_structured", "residuals_of"]


class _Options(NamedTuple):
    """How the MSE is to be had."""

    free: tuple[str, ...]
    method: str
    mse: str
    replicates: int | None
    seed: int | None


@dataclass(frozen=True, eq=False)
class _Error:
    """MSE of the rows, its name, and jointly."""

    mse: np.ndarray
    name: str
    joint: JointError
    streams: tuple[str, ...]


def fit_structured(
    panel: Panel,
    spatial: SpatialEffect | None,
    temporal: AR1 | RandomWalk | None,
    free: tuple[str, ...],
    *,
    method: str,
    mse: str,
    level: float,
    replicates: int | None,
    seed: int | None,
) -> Eblup:
    """Fit a panel whose area effects are spatial or go over time.

    Intervals: with 50 sampled areas or more, and all variances positive, Student's t on the MSE; else the
    exact posterior with flat priors of the variances, which knows that they may be larger.

    Parameters
    ----------
    panel : Panel
    spatial, temporal : component or None
        At least one of them.
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
        If a bootstrap is to be run and there is no seed.
    """
    refuse_unit(panel.arrays)
    arrays = panel.arrays
    if mse == "auto":
        mse = "bootstrap" if "sigma2_v" in free else "analytical"
    if seed is None and mse != "analytical":
        raise no_seed("The MSE comes from a bootstrap")
    options = _Options(free, method, mse, replicates, seed)
    fit = fit_spacetime(panel.problem, free, method=method)
    at = predict_spacetime(panel.problem, fit.parameters[None])
    error = _error(panel, fit, at, options)
    estimate = panel.estimates(fit.eblup)
    weight = np.diagonal(at.blocks[0] @ np.linalg.inv(panel.problem.psi), axis1=1, axis2=2)
    gamma = np.where(arrays.sampled, panel.of_rows(weight), 0.0)
    ends = _interval(panel, spatial, temporal, fit, estimate, error.mse, free, level)
    normal = NormalDraws(estimate, error.joint, TRANSFORMS["identity"], panel.rows.labels, error.streams)
    joint, source = same_source([ends], [np.arange(len(estimate))], estimate, error.joint, normal)
    missing = np.full(len(estimate), ends.kind is IntervalKind.NONE)
    return Eblup.of(
        estimate,
        error.mse,
        ends,
        gamma,
        error.name,
        joint,
        source,
        _tables(panel, fit, options, gamma),
        [
            *panel.messages(not (fit.parameters[[0, 2]] > 0).any()),
            *no_interval(missing, panel.rows.names, "so few areas"),
        ],
        {"islands": tuple(panel.islands)},
    )


def _error(panel: Panel, fit: SpaceTimeFit, at: SpaceTimePrediction, options: _Options) -> _Error:
    free, method, mse_option, replicates, seed = options
    drawn = "nonparametric" if mse_option.startswith("nonparametric") else "parametric"
    if seed is not None and mse_option in BOOTSTRAPS:
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
        errors = panel.of_rows(boot.errors)
        mse, name = panel.of_rows(boot.tally.mean), f"{drawn} bootstrap, {boot.tally.text}"
        if mse_option.endswith("-corrected"):
            corrected, name = panel.of_rows(boot.corrected), f"{name}, bias-corrected"
            mse = np.where(corrected > 0, corrected, mse)  # the difference of two estimates can be negative
        square = (errors**2).mean(axis=0)
        scale = np.sqrt(mse / np.where(square > 0.0, square, 1.0))
        root = sparse.csr_array((errors * scale / np.sqrt(len(errors))).T)
        streams = tuple(f"replicate {b}" for b in range(len(errors)))
        return _Error(mse, name, JointError.of_root(root, mse), streams)
    parts = mse_spacetime(panel.problem, fit, free, method=method)
    whole = panel.of_rows(parts.mse)
    mse = np.where(whole > 0, whole, panel.of_rows(parts.g1 + parts.g2 + 2.0 * parts.g3))
    name = f"analytical, {'Singh–Shukla–Kundu' if 'rho_u' in free else 'Prasad–Rao'}"
    place = panel.area * panel.problem.seen.shape[1] + panel.period
    root = sparse.csr_array(error_root(panel.problem, fit.parameters, at)[place])
    cells = [f"within\x1f{cell}" for cell in panel.cells]
    streams = (*panel.areas, *cells, *panel.arrays.coefficient_labels)
    return _Error(mse, name, JointError.of_root(root, mse), streams)


def _interval(
    panel: Panel,
    spatial: SpatialEffect | None,
    temporal: AR1 | RandomWalk | None,
    fit: SpaceTimeFit,
    estimate: np.ndarray,
    mse: np.ndarray,
    free: tuple[str, ...],
    level: float,
) -> Interval:
    arrays = panel.arrays
    variances = [fit.parameters[PARAMETERS.index(name)] for name in free if name.startswith("sigma2")]
    if len(np.unique(panel.area[arrays.sampled])) >= FEW_AREAS and all(variances):
        return t_interval(estimate, mse, int(arrays.sampled.sum()) - arrays.X.shape[1], level)
    return field_intervals(
        lambda prior: field_of(panel, spatial, temporal, prior), arrays.X, panel.area, arrays.sampled, level
    )


def _tables(panel: Panel, fit: SpaceTimeFit, options: _Options, gamma: np.ndarray) -> FitTables:
    sampled = panel.arrays.sampled
    fitted, cov = panel.fitted(fit.beta), panel.basis.natural_covariance(fit.beta_cov)
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
        coefficient_table(panel.basis.natural(fit.beta), np.sqrt(np.diag(cov)), index),
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
        In the coordinates of the panel's basis.
    fitted : ndarray of float, shape (M,)
    """
    s1, r1, s2, r2 = parameters
    omega = factorise(panel.problem.pattern, panel.problem.omega(np.array([r1])))
    n_times = panel.problem.seen.shape[1]
    effects = s1 * omega.inverse().diagonal()[0][panel.area] + s2 * ar1(r2, n_times)[0][0, 0]
    return panel.residuals(fitted, effects, beta_cov)
