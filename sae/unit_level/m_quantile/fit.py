"""Fit an M-quantile model: predictions, their errors, intervals and tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse, special

from sae.errors import SaeConvergenceError, SaeInputError, SaeWarning, counted, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.tally import relative_error
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.m_quantile.areas import (
    FEW,
    AreaFits,
    MeanErrors,
    area_means,
    coefficient_covariance,
    fit_areas,
    mean_errors,
)
from sae.numerics.m_quantile.bootstrap import bootstrap_errors
from sae.numerics.m_quantile.distribution import FGT, MEAN, Target, figures
from sae.results import (
    Eblup,
    FitTables,
    Interval,
    IntervalKind,
    Message,
    NormalDraws,
    coefficient_index,
    coefficient_table,
    residual_table,
)
from sae.unit_level.m_quantile.arrays import MQuantileArrays
from sae.unit_level.m_quantile.indicators import is_share

__all__ = ["MQuantileOptions", "fit_m_quantile"]

_CROSSED = 0.01  # of the units: more that have crossing regressions are told
PSEUDO = "pseudo-linear, Chambers–Chandra–Tzavidis"


@dataclass(frozen=True, slots=True, kw_only=True)
class MQuantileOptions:
    """How an M-quantile model is fitted.

    Attributes
    ----------
    k : float
        Tuning constant of ψ.
    adjusted : bool
        Whether predictions have the residuals of their area.
    names : tuple of str
        Indicators.
    targets : list of Target
        What they are.
    bootstrap : bool
        Whether the errors are those of the bootstrap; else pseudo-linear, of means alone.
    replicates : int
    seed : int or None
    level : float
    """

    k: float
    adjusted: bool
    names: tuple[str, ...]
    targets: list[Target]
    bootstrap: bool
    replicates: int
    seed: int | None
    level: float


@dataclass(frozen=True, eq=False)
class _Errors:
    """Errors of all rows of the table."""

    mse: np.ndarray
    freedom: np.ndarray
    method: str
    joint: JointError
    streams: tuple[str, ...]
    notes: list[Message]


def fit_m_quantile(arrays: MQuantileArrays, options: MQuantileOptions) -> Eblup:
    """Fit, predict and measure the error; rows are areas, and within each its indicators.

    Raises
    ------
    SaeInputError
        If most units lie on one regression.
    SaeConvergenceError
        If a regression has no solution that could be found.
    """
    units, targets = arrays.units, options.targets
    fits = fit_areas(units.y, arrays.Z, units.area, len(units.names), options.k)
    _check(fits)
    x_mean = arrays.basis.of(units.population.x_mean)
    means = area_means(fits, x_mean, arrays.size, adjusted=options.adjusted)
    analytical = mean_errors(fits, x_mean, arrays.size, adjusted=options.adjusted)
    values = np.repeat(means[:, None], len(targets), axis=1)
    others = [t for t, target in enumerate(targets) if target.code != MEAN]
    if others:
        wanted = [targets[t] for t in others]
        values[:, others] = figures(fits, arrays.rest, wanted, adjusted=options.adjusted)
    estimate = values.ravel()
    labels = [f"{area}\x1f{name}" for area in units.names for name in options.names]
    if options.bootstrap and options.seed is not None:
        errors = _bootstrap(arrays, fits, options)
    else:
        errors = _pseudo(arrays, fits, x_mean, analytical)
    source = NormalDraws(
        estimate,
        errors.joint,
        TRANSFORMS["identity"],
        tuple(units.names) if options.names == ("mean",) else labels,
        errors.streams,
        "M-quantile predictor",
    )
    return Eblup.of(
        estimate,
        errors.mse,
        _interval(estimate, errors, options),
        np.full(len(estimate), np.nan),
        errors.method,
        errors.joint,
        source,
        _tables(arrays, fits, analytical, options),
        [*arrays.messages(), *_messages(arrays, fits, options), *errors.notes],
    )


def _check(fits: AreaFits) -> None:
    """Refuse regressions without an answer."""
    orders = np.concatenate([fits.grid.order, fits.areas.order])
    for code in (-2, -1):
        bad = np.unique(orders[fits.steps == code])
        if not len(bad):
            continue
        shown = name_some([f"{order:.3g}" for order in bad])
        if code == -2:
            raise SaeInputError(
                f"Half of the units or more lie exactly on one regression of the order {shown}: the scale of "
                "the residuals is 0.",
                hint="An M-quantile model needs an outcome that varies at most units; many equal outcomes, "
                "such as incomes of 0, need a model of shares.",
            )
        raise SaeConvergenceError(
            f"The M-quantile regressions of the order {shown} did not converge.",
            hint="Take a larger k, or NestedError; see whether a covariate is 0 in nearly all units.",
        )


def _pseudo(arrays: MQuantileArrays, fits: AreaFits, x_mean: np.ndarray, analytical: MeanErrors) -> _Errors:
    """Pseudo-linear errors; areas share what the coefficients of order 0.5 leave uncertain."""
    values, vectors = np.linalg.eigh(coefficient_covariance(fits))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    shared = sparse.csr_array((x_mean - fits.sample_mean) @ root)
    joint = JointError.of_root(shared, analytical.mse)
    return _Errors(analytical.mse, analytical.freedom, PSEUDO, joint, arrays.units.design.columns, [])


def _bootstrap(arrays: MQuantileArrays, fits: AreaFits, options: MQuantileOptions) -> _Errors:
    assert options.seed is not None
    drawn = bootstrap_errors(
        fits,
        arrays.rest,
        options.targets,
        adjusted=options.adjusted,
        replicates=options.replicates,
        seed=options.seed,
        names=list(arrays.units.names),
    )
    drawn = drawn.reshape(len(drawn), -1)
    kept = drawn[np.isfinite(drawn).all(axis=1)]
    if 2 * len(kept) < len(drawn) or len(kept) < 2:
        raise SaeConvergenceError(
            f"{len(drawn) - len(kept)} of {len(drawn)} bootstrap replicates could not be fitted.",
            hint="Take a larger k, or fewer covariates.",
        )
    notes = []
    if len(kept) < len(drawn):
        lost = len(drawn) - len(kept)
        text = f"{lost} of {len(drawn)} bootstrap replicates could not be fitted; they are left out."
        notes.append(Message(text, SaeWarning))
    square = kept**2
    mse, B = square.mean(axis=0), len(kept)
    noise = 0.5 * relative_error(square.sum(axis=0), (square**2).sum(axis=0), B, 0.0).max(initial=0.0)
    joint = JointError.of_root(sparse.csr_array(kept.T / np.sqrt(B)), mse)
    freedom = np.full(len(mse), float(len(fits.y) - int((fits.n > 0).sum()) - fits.X.shape[1]))
    method = f"nonparametric bootstrap, {B} replicates, se to {noise:.1%}"
    streams = tuple(f"replicate {b}" for b in range(B))
    return _Errors(mse, np.maximum(freedom, 1.0), method, joint, streams, notes)


def _interval(estimate: np.ndarray, errors: _Errors, options: MQuantileOptions) -> Interval:
    """Student's t on the MSE, inside what the figures can be."""
    half = special.stdtrit(errors.freedom, 0.5 + 0.5 * options.level) * np.sqrt(errors.mse)
    T, D = len(options.targets), len(estimate) // len(options.targets)
    lowest = np.tile([0.0 if one.code == FGT else -np.inf for one in options.targets], D)
    highest = np.tile([1.0 if is_share(one) else np.inf for one in options.targets], D)
    assert len(lowest) == T * D
    return Interval(np.maximum(estimate - half, lowest), np.minimum(estimate + half, highest), IntervalKind.T)


def _messages(arrays: MQuantileArrays, fits: AreaFits, options: MQuantileOptions) -> list[Message]:
    messages, names = [], arrays.units.names
    few = (fits.n > 0) & (fits.n < FEW)
    if few.any() and not options.bootstrap:
        text = (
            f"{counted(int(few.sum()), 'area', 'areas')} with fewer than {FEW} units: the mean squared "
            f"residual of the others stands for their errors: {name_some(names[few])}."
        )
        messages.append(Message(text))
    if not options.adjusted:
        text = (
            "The naive predictor leaves out the residuals of its area: it is biased where outcomes are skew, "
            "its distribution is too narrow, and its pseudo-linear MSE takes the areas' orders as known "
            '(its intervals covered 80 % of normal data in simulation). estimator="bias_adjusted" holds.'
        )
        messages.append(Message(text, SaeWarning))
    if fits.crossed > _CROSSED * len(fits.y):
        text = (
            f"Regressions of different orders cross at {fits.crossed} of {len(fits.y)} units, where they were"
            " sorted: look for covariates whose effect differs much over the distribution."
        )
        messages.append(Message(text))
    return messages


def _tables(
    arrays: MQuantileArrays, fits: AreaFits, errors: MeanErrors, options: MQuantileOptions
) -> FitTables:
    units, basis = arrays.units, arrays.basis
    covariance = coefficient_covariance(fits)
    beta = np.linalg.lstsq(units.X, arrays.Z @ fits.median, rcond=None)[0]
    natural = basis.natural_covariance(covariance)
    seen = np.flatnonzero(fits.n > 0)
    orders = fits.areas.order[seen]
    middle = int(np.argmin(np.abs(fits.grid.order - 0.5)))
    diagnostics = {
        "areas": len(fits.n),
        "sampled": len(seen),
        "units": len(fits.y),
        "coefficients": len(beta),
        "k": options.k,
        "order_low": float(orders.min()),
        "order_median": float(np.median(orders)),
        "order_high": float(orders.max()),
        "crossed": fits.crossed,
    }
    components = {"sigma2_between": errors.between, "scale": float(fits.grid.scale[middle])}
    return FitTables(
        coefficient_table(beta, np.sqrt(np.diag(natural)), coefficient_index(units.design.columns)),
        pd.Series(components),
        pd.DataFrame([diagnostics]),
        _residuals(arrays, fits, errors, covariance, seen, len(options.targets)),
    )


def _residuals(
    arrays: MQuantileArrays,
    fits: AreaFits,
    errors: MeanErrors,
    covariance: np.ndarray,
    seen: np.ndarray,
    T: int,
) -> pd.DataFrame:
    """Return the means of sampled areas less those of the regression of order 0.5 and its mean residual."""
    rest = fits.y - fits.X @ fits.median
    x, n = fits.sample_mean[seen], fits.n[seen]
    fitted = x @ fits.median + rest.mean()
    residual = np.bincount(fits.area, rest, len(fits.n))[seen] / n - rest.mean()
    own = np.mean((fits.y - fits.fitted) ** 2)
    total = errors.between + own / n
    leverage = np.minimum(np.einsum("dj,jk,dk->d", x, covariance, x) / total, 1.0 - 1e-12)
    standardised = residual / np.sqrt(total * (1.0 - leverage))
    table = residual_table(seen * T, arrays.units.names[seen], fitted, residual, standardised, leverage)
    return table.assign(order=fits.areas.order[seen])
