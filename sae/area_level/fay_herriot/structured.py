"""Fay–Herriot with structured area effects: spatial (SAR), over time (AR(1)), or both."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import ndtr, stdtrit

import sae
from sae.area_level.arrays import AreaProblem
from sae.area_level.effects.options import BOOTSTRAPS, free_parameters
from sae.area_level.effects.panel import Panel, build_panel
from sae.area_level.intervals import FEW_AREAS, area_intervals
from sae.area_level.rows import read_rows
from sae.errors import BoundaryVarianceWarning, ExtrapolationWarning, SaeSpecError, SaeWarning, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.linalg.cholesky import factorise
from sae.numerics.random.streams import seed_of
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
from sae.results import NormalDraws, Result
from sae.specs import split_formula
from sae.tables import EstimateTable

__all__ = [
    "coefficients_of",
    "fit_structured",
    "joint_of_root",
    "pooled_quantiles",
    "residuals_of",
    "warn_structured",
    "with_errors",
]


@dataclass(frozen=True, eq=False)
class _Error:
    """MSE of the rows, in words, and jointly; errors of the bootstrap, shape (B, M), if there was one."""

    mse: np.ndarray
    words: str
    joint: JointError
    streams: tuple[str, ...]
    errors: np.ndarray | None


def fit_structured(
    spec: Any, data: Any, areas: pd.DataFrame | None, seed: int | np.random.Generator | None
) -> Result:
    """Fit a `FayHerriot` that has `spatial` or `temporal` effects; parameters as of `FayHerriot.fit`.

    Intervals: with 50 sampled areas or more, and a positive variance, Student's t on the MSE; with fewer,
    pooled quantiles of the bootstrap errors of prediction times √MSE, which needs a seed; with all variances
    estimated 0, the posterior of the model with independent effects, which knows that they may be larger.
    """
    outcome, covariates = split_formula(spec.formula)
    per = (spec.temporal.column,) if spec.temporal else ()
    rows = read_rows(
        data, areas, outcome=outcome, domain=spec.domain, vardir=spec.vardir, n_eff=spec.n_eff, per=per
    )
    panel = build_panel(rows, data, covariates, spec.spatial, spec.temporal)
    few = len(np.unique(panel.area[panel.rows.sampled])) < FEW_AREAS
    kind = ("bootstrap" if spec.temporal else "analytical") if spec.mse == "auto" else spec.mse
    if seed is None and (few or kind != "analytical"):
        what = (
            "The MSE comes" if kind != "analytical" else f"Intervals with fewer than {FEW_AREAS} areas come"
        )
        raise SaeSpecError(
            f"{what} from a bootstrap, which draws random numbers; it has no seed.",
            hint="Call fit(..., seed=1), with any number.",
        )
    number = None if seed is None else seed_of(seed)
    free = free_parameters(spec.spatial, spec.temporal)
    fit = fit_spacetime(panel.problem, free, method=spec.method)
    at = predict_spacetime(panel.problem, fit.parameters[None])
    error = _error(spec, panel, fit, at, free, kind, number, few)
    return _result(spec, panel, fit, at, free, error, number, few)


def _error(
    spec: Any, panel: Panel, fit: SpaceTimeFit, at: SpaceTimePrediction, free: tuple[str, ...], kind: str,
    seed: int | None, few: bool,
) -> _Error:  # fmt: skip
    boot: SpaceTimeBootstrap | None = None
    drawn = "nonparametric" if kind.startswith("nonparametric") else "parametric"
    if seed is not None and (few or kind in BOOTSTRAPS):
        boot = bootstrap_spacetime(
            panel.problem, fit, free, areas=panel.areas, cells=panel.cells, replicates=spec.replicates,
            seed=seed, method=spec.method, kind=drawn,
        )  # fmt: skip
    errors = None if boot is None else panel.of_rows(boot.errors)
    if boot is not None and errors is not None and kind in BOOTSTRAPS:
        mse, words = panel.of_rows(boot.mse), f"{drawn} bootstrap, {spec.replicates} replicates"
        if kind.endswith("-corrected"):
            corrected, words = panel.of_rows(boot.corrected), f"{words}, bias-corrected"
            mse = np.where(corrected > 0, corrected, mse)  # the difference of two estimates can be negative
        scale = np.sqrt(mse / (errors**2).mean(axis=0))
        root = sparse.csr_array((errors * scale / np.sqrt(len(errors))).T)
        streams = tuple(f"replicate {b}" for b in range(len(errors)))
        return _Error(mse, words, joint_of_root(root, mse), streams, errors)
    parts = mse_spacetime(panel.problem, fit, free, method=spec.method)
    whole = panel.of_rows(parts.mse)
    mse = np.where(whole > 0, whole, panel.of_rows(parts.g1 + parts.g2 + 2.0 * parts.g3))
    words = f"analytical, {'Singh–Shukla–Kundu' if spec.spatial else 'Prasad–Rao'}"
    place = panel.area * panel.problem.seen.shape[1] + panel.period
    root = sparse.csr_array(error_root(panel.problem, fit.parameters, at)[place])
    cells = [f"within\x1f{name}" for name in panel.cells]
    streams = (*panel.areas, *cells, *panel.arrays.coefficient_labels)
    return _Error(mse, words, joint_of_root(root, mse), streams, errors)


def joint_of_root(root: sparse.csr_array, mse: np.ndarray) -> JointError:
    """Joint error with covariance root root', each row's own part filled up, or shrunk, to its MSE."""
    have = np.asarray(root.multiply(root).sum(axis=1)).ravel()
    shrink = np.sqrt(np.minimum(1.0, mse / np.where(have > 0, have, 1.0)))
    shared = sparse.csr_array(root.multiply(shrink[:, None]))
    empty = sparse.csr_array((len(mse), 0))
    return JointError(np.sqrt(np.maximum(mse - have * shrink**2, 0.0)), shared, empty, empty)


def pooled_quantiles(errors: np.ndarray, level: float) -> tuple[float, float]:
    """Quantiles of truth minus prediction in units of its root mean square, over replicates and rows.

    Parameters
    ----------
    errors : ndarray, shape (B, M)
        Prediction minus truth.
    """
    scaled = -errors / np.sqrt((errors**2).mean(axis=0))
    low, high = np.quantile(scaled, [0.5 * (1.0 - level), 0.5 * (1.0 + level)])
    return float(low), float(high)


def _intervals(
    spec: Any, panel: Panel, fit: SpaceTimeFit, estimate: np.ndarray, error: _Error, few: bool
) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Low and high ends, what they rest on, and the prior where there is one."""
    arrays = panel.arrays
    if not (fit.parameters[[0, 2]] > 0).any():
        ends = area_intervals(
            0.0, estimate, error.mse, arrays.y, arrays.D, arrays.X, arrays.sampled, spec.level
        )
        return ends.low, ends.high, f"{ends.words}, independent effects", ends.prior
    if few and error.errors is not None:
        low, high = pooled_quantiles(error.errors, spec.level)
        words = f"bootstrap errors pooled, {spec.replicates} replicates"
    else:
        m, p = int(arrays.sampled.sum()), len(arrays.X)
        high = float(stdtrit(m - p, 0.5 * (1.0 + spec.level)))
        low, words = -high, "t on the MSE"
    se = np.sqrt(error.mse)
    return estimate + low * se, estimate + high * se, words, ""


def _result(
    spec: Any, panel: Panel, fit: SpaceTimeFit, at: SpaceTimePrediction, free: tuple[str, ...], error: _Error,
    seed: int | None, few: bool,
) -> Result:  # fmt: skip
    rows, arrays = panel.rows, panel.arrays
    estimate = panel.of_rows(fit.eblup)
    low, high, interval, prior = _intervals(spec, panel, fit, estimate, error, few)
    weight = np.diagonal(at.blocks[0] @ np.linalg.inv(panel.problem.psi), axis1=1, axis2=2)
    gamma = np.where(rows.sampled, panel.of_rows(weight), 0.0)
    at_zero = not (fit.parameters[[0, 2]] > 0).any()
    messages = warn_structured(arrays, at_zero, panel.islands)
    run = arrays.run_id(spec.to_toml(), seed)
    words = " and ".join([*(["spatial"] if spec.spatial else []), *(["temporal"] if spec.temporal else [])])
    title = f"Fay–Herriot, {words} ({spec.method.upper()})"
    table = rows.table.assign(
        estimate=estimate, mse=error.mse, ci_low=low, ci_high=high, interval=interval, prior=prior,
        gamma=gamma, in_sample=rows.sampled, mse_method=error.words, method=f"EBLUP, {spec.method.upper()}",
        model=f"{title}: {spec.formula}", run=run,
    )  # fmt: skip
    fitted = fit.beta @ arrays.X
    effect = fit.parameters[0] + fit.parameters[2] / (1.0 - fit.parameters[3] ** 2)
    p, sampled, q = len(fit.beta), int(rows.sampled.sum()), len(free)
    explained = float(np.var(fitted[rows.sampled], ddof=1))
    whole = explained + effect
    diagnostics = pd.DataFrame([{
        "areas": len(estimate), "sampled": sampled, "coefficients": p, "loglik": fit.loglik,
        "aic": 2.0 * (p + q) - 2.0 * fit.loglik, "bic": np.log(sampled) * (p + q) - 2.0 * fit.loglik,
        "r2_marginal": explained / whole if whole > 0 else np.nan,
        "gamma_median": float(np.median(gamma[rows.sampled])), "islands": len(panel.islands),
    }])  # fmt: skip
    return Result(
        estimates=with_errors(table, rows.groups),
        coefficients=coefficients_of(arrays.design.columns, fit.beta, fit.beta_cov),
        variance_components=_components(panel, fit, free, spec.method),
        diagnostics=diagnostics,
        residuals=residuals_of(panel, fit, fitted),
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": seed, "run": run, "warnings": messages,
            "islands": tuple(panel.islands), "direct": dict(rows.provenance),
        },
        spec=spec,
        areas=rows.covariates,
        title=title,
        joint=error.joint,
        source=NormalDraws(estimate, error.joint, TRANSFORMS["identity"], rows.labels, error.streams),
    )  # fmt: skip


def with_errors(table: pd.DataFrame, groups: tuple[str, ...]) -> EstimateTable:
    """Make an estimate table of rows with an MSE."""
    se, magnitude = np.sqrt(table["mse"]), table["estimate"].abs()
    return EstimateTable(table.assign(se=se, cv=(se / magnitude).where(magnitude > 0), flag="e"), groups)


def coefficients_of(terms: tuple[str, ...], beta: np.ndarray, cov: np.ndarray) -> pd.DataFrame:
    """Coefficients with standard errors and two-sided normal tests, by term."""
    se = np.sqrt(np.diag(cov))
    z = beta / se
    columns = {"coef": beta, "se": se, "z": z, "p": 2.0 * ndtr(-np.abs(z))}
    return pd.DataFrame(columns, index=pd.Index(list(terms), name="term"))


def _components(panel: Panel, fit: SpaceTimeFit, free: tuple[str, ...], method: str) -> pd.Series:
    """Parameters with standard errors from the observed information; missing at the boundary."""
    alive = tuple(name for name in free if fit.parameters[PARAMETERS.index(name) // 2 * 2] > 0)
    se = dict.fromkeys(free, np.nan)
    if alive:
        information = observed_information(panel.problem, fit.parameters, alive, method=method)
        spread = np.diag(np.linalg.pinv(information))
        se |= dict(zip(alive, np.sqrt(np.where(spread > 0, spread, np.nan)), strict=True))
    values: dict[str, float] = {}
    for name in free:
        values[name] = float(fit.parameters[PARAMETERS.index(name)])
        values[f"{name}_se"] = float(se[name])
    return pd.Series(values)


def residuals_of(panel: Panel, fit: Any, fitted: np.ndarray) -> pd.DataFrame:
    """Regression residuals of the sampled rows, each over its standard deviation; they are correlated."""
    s1, r1, s2, r2 = fit.parameters
    omega = factorise(panel.problem.pattern, panel.problem.omega(np.array([r1])))
    n_times = panel.problem.seen.shape[1]
    effects = s1 * omega.inverse().diagonal()[0][panel.area] + s2 * ar1(r2, n_times)[0][0, 0]
    rows, arrays = panel.rows, panel.arrays
    total = effects + np.where(rows.sampled, arrays.D, 0.0)
    taken = np.einsum("pm,pq,qm->m", arrays.X, fit.beta_cov, arrays.X)
    residual = arrays.y - fitted
    standardised = residual / np.sqrt(np.maximum(total - taken, 1e-12 * total))
    frame = pd.DataFrame({
        "domain": rows.names, "fitted": fitted, "residual": residual, "standardised": standardised,
        "leverage": taken / total,
    })  # fmt: skip
    return frame[rows.sampled].rename_axis("row")


def warn_structured(arrays: AreaProblem, at_zero: bool, islands: list[str] | None = None) -> list[str]:
    """Warn of what the user should know about a fit, and return the sentences, with notes, for the record."""
    found: list[tuple[type[SaeWarning], str]] = []
    if at_zero:
        text = (
            "All model variances are estimated exactly 0: the predictions rest on the covariates alone. "
            "Intervals come from the posterior with independent effects, which knows that they may be larger."
        )
        found.append((BoundaryVarianceWarning, text))
    outside, columns = arrays.extrapolated()
    if outside.any():
        text = (
            f"Covariates lie outside the range of the fit ({name_some(columns)}) in {int(outside.sum())} "
            f"rows without a sample: {name_some(arrays.names[outside])}."
        )
        found.append((ExtrapolationWarning, text))
    for kind, text in found:
        warnings.warn(text, kind, stacklevel=5)
    notes = [f"{len(islands)} areas have no neighbour: {name_some(islands)}."] if islands else []
    return [text for _, text in found] + notes
