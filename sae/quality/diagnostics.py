"""Diagnostics of model estimates against direct ones: functions of arrays, each returns a frozen dataclass.

Rows without a direct estimate take no part; every result says on how many areas it stands.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy

from sae.calls import answered
from sae.errors import SaeInputError, SaeWarning
from sae.numerics.inference.normality import LARGEST, shapiro_wilk
from sae.numerics.inference.tails import normal_quantile

__all__ = [
    "BiasTest",
    "Calibration",
    "Coverage",
    "Gain",
    "GoodnessOfFit",
    "Normality",
    "bias_test",
    "calibration",
    "coverage",
    "gain",
    "goodness_of_fit",
    "residual_normality",
]

_NORMAL_95 = float(normal_quantile(np.array([0.975]))[0])


@dataclass(frozen=True)
class BiasTest:
    """Regression of direct on model estimates; intercept 0 and slope 1 say that the model is not biased."""

    intercept: float
    intercept_se: float
    slope: float
    slope_se: float
    f: float
    df: int
    p_value: float
    n_areas: int


@dataclass(frozen=True)
class GoodnessOfFit:
    """Wald statistic of the differences between direct and model, chi-squared if the model holds."""

    w: float
    df: int
    critical: float
    p_value: float

    @property
    def n_areas(self) -> int:
        """Number of areas with both estimates."""
        return self.df


@dataclass(frozen=True)
class Coverage:
    """How many pairs of intervals overlap, where `expected` would if both estimate the same truth."""

    share: float
    expected: float
    overlapping: int
    n_areas: int
    p_value: float


@dataclass(frozen=True)
class Calibration:
    """Model estimates added up, against the direct estimate of the whole."""

    model: float
    direct: float
    difference: float
    relative_difference: float
    z: float
    agrees: bool


@dataclass(frozen=True)
class Gain:
    """What the model adds, and whether it flattens the areas.

    Attributes
    ----------
    error_ratio : float
        Median over areas of the model's root mean squared error over the direct standard error.
    improved : float
        Share of the areas where that is below 1.
    spread_model, spread_truth : float
        Variance of the model estimates between areas, and of the true values as the direct estimates show it:
        their variance less the mean sampling variance, 0 where that is negative. Best predictions spread
        less than the truth; a model spread far below says that they are shrunken too much.
    n_areas : int
    """

    error_ratio: float
    improved: float
    spread_model: float
    spread_truth: float
    n_areas: int


@dataclass(frozen=True)
class Normality:
    """Shapiro–Wilk test of residuals, with their skewness and excess kurtosis."""

    statistic: float
    p_value: float
    skewness: float
    kurtosis: float
    n: int


@answered
def bias_test(direct: np.ndarray, model: np.ndarray, vardir: np.ndarray | None = None) -> BiasTest:
    """Regress direct on model estimates and test intercept 0, slope 1 together.

    Parameters
    ----------
    direct, model : ndarray of float, shape (n_areas,)
    vardir : ndarray of float, shape (n_areas,), optional
        Sampling variances; the regression then weights with 1 / vardir.

    Raises
    ------
    SaeInputError
        If fewer than four areas have both estimates, or all model estimates are equal.

    References
    ----------
    Brown, Chambers, Heady and Heasman (2001), Statistics Canada Symposium.

    Examples
    --------
    >>> test = sae.quality.bias_test(np.array([1.1, 1.9, 3.1, 3.9]), np.array([1.0, 2.0, 3.0, 4.0]))
    >>> round(test.slope, 2), test.df
    (0.96, 2)
    """
    columns = [direct, model] if vardir is None else [direct, model, vardir]
    y, x, *variances = _complete(columns, 4, "The bias test")
    weights = 1 / variances[0] if variances else np.ones(len(y))
    root = np.sqrt(weights)
    design = np.column_stack([np.ones_like(x), x]) * root[:, None]
    gram = design.T @ design
    if np.ptp(x) <= 1e-12 * np.abs(x).max(initial=0):
        raise SaeInputError("The bias test needs model estimates that differ between areas; all are equal.")
    beta = np.linalg.solve(gram, design.T @ (y * root))
    df = len(y) - 2
    sigma2 = float(np.sum((y * root - design @ beta) ** 2) / df)
    gap = beta - np.array([0.0, 1.0])
    statistic = float(gap @ gram @ gap / (2 * sigma2)) if sigma2 > 0 else (0.0 if not gap.any() else np.inf)
    se = np.sqrt(sigma2 * np.diag(np.linalg.inv(gram)))
    p_value = (1.0 + 2.0 * statistic / df) ** (-0.5 * df)  # of F with 2 and df degrees of freedom
    return BiasTest(
        float(beta[0]), float(se[0]), float(beta[1]), float(se[1]), statistic, df, p_value, len(y)
    )


@answered
def goodness_of_fit(
    direct: np.ndarray, model: np.ndarray, vardir: np.ndarray, mse: np.ndarray
) -> GoodnessOfFit:
    """W = Σ (direct − model)² / (vardir + mse), chi-squared with one degree per area.

    Conservative: it ignores that direct and model estimates are correlated.

    Parameters
    ----------
    direct, model, vardir, mse : ndarray of float, shape (n_areas,)

    References
    ----------
    Brown, Chambers, Heady and Heasman (2001), Statistics Canada Symposium.

    Examples
    --------
    >>> direct, estimate = np.array([1.0, 2.0]), np.array([1.2, 1.6])
    >>> fit = sae.quality.goodness_of_fit(direct, estimate, np.full(2, 0.03), np.full(2, 0.01))
    >>> round(fit.w, 10), fit.df, round(fit.critical, 4)
    (5.0, 2, 5.9915)
    """
    y, x, v, m = _complete([direct, model, vardir, mse], 1, "The goodness of fit")
    w = float(np.sum((y - x) ** 2 / (v + m)))
    return GoodnessOfFit(
        w, len(y), float(scipy.special.chdtri(len(y), 0.05)), float(scipy.special.chdtrc(len(y), w))
    )


@answered
def coverage(direct: np.ndarray, model: np.ndarray, vardir: np.ndarray, mse: np.ndarray) -> Coverage:
    """Share of areas whose direct and model intervals overlap, when 95 % should.

    The half-widths are z* times each standard error with z* = 1.96 √(v + m) / (√v + √m), so that two
    independent estimates of the same value overlap with probability 0.95.

    Parameters
    ----------
    direct, model, vardir, mse : ndarray of float, shape (n_areas,)

    References
    ----------
    Brown, Chambers, Heady and Heasman (2001), Statistics Canada Symposium.

    Examples
    --------
    >>> direct, estimate = np.array([0.0, 0.0]), np.array([0.04, 0.05])
    >>> sae.quality.coverage(direct, estimate, np.full(2, 4e-4), np.full(2, 1e-4)).overlapping
    1
    """
    y, x, v, m = _complete([direct, model, vardir, mse], 1, "The coverage of intervals")
    z = _NORMAL_95 * np.sqrt(v + m) / (np.sqrt(v) + np.sqrt(m))
    hits = int(np.sum(np.abs(y - x) <= z * (np.sqrt(v) + np.sqrt(m))))
    return Coverage(
        hits / len(y), 0.95, hits, len(y), float(scipy.stats.binomtest(hits, len(y), 0.95).pvalue)
    )


@answered
def calibration(model: np.ndarray, weights: np.ndarray, direct: float, direct_se: float) -> Calibration:
    """Compare Σ w model with the direct estimate of the whole; they agree within 1.96 standard errors.

    Parameters
    ----------
    model, weights : ndarray of float, shape (n_areas,)
        Estimates of all areas that make the whole; weights sum to 1 for a mean or rate.
    direct, direct_se : float
        The direct estimate of the whole and its standard error.

    Raises
    ------
    SaeInputError
        If an estimate or weight is missing: a sum over some of the areas is not the whole.

    Examples
    --------
    >>> sae.quality.calibration(np.array([0.4, 0.6]), np.array([0.5, 0.5]), 0.52, 0.02).agrees
    True
    """
    missing = int(np.sum(~np.isfinite(np.asarray(model) * np.asarray(weights))))
    if missing:
        raise SaeInputError(
            f"{missing} areas have no estimate or no weight, so they do not add up to the whole."
        )
    total = float(np.dot(model, weights))
    gap = total - direct
    z = gap / direct_se if direct_se > 0 else np.inf * np.sign(gap) if gap else 0.0
    relative = gap / direct if direct else np.nan
    return Calibration(total, float(direct), gap, float(relative), float(z), bool(abs(z) <= _NORMAL_95))


@answered
def gain(direct: np.ndarray, model: np.ndarray, vardir: np.ndarray, mse: np.ndarray) -> Gain:
    """Compare the errors of model and direct estimates, and how far either spreads between areas.

    Parameters
    ----------
    direct, model, vardir, mse : ndarray of float, shape (n_areas,)

    Examples
    --------
    >>> sae.quality.gain(np.array([1.0, 3.0]), np.array([1.5, 2.5]), np.ones(2), np.full(2, 0.25))
    Gain(error_ratio=0.5, improved=1.0, spread_model=0.5, spread_truth=1.0, n_areas=2)
    """
    y, x, v, m = _complete([direct, model, vardir, mse], 2, "The gain of the model")
    ratio = np.sqrt(m / v)
    truth = max(float(np.var(y, ddof=1) - v.mean()), 0.0)
    return Gain(float(np.median(ratio)), float((ratio < 1).mean()), float(np.var(x, ddof=1)), truth, len(y))


@answered
def residual_normality(residuals: np.ndarray) -> Normality:
    """Test standardised residuals, or predicted random effects, for normality (Shapiro–Wilk).

    Parameters
    ----------
    residuals : ndarray of float, shape (n,)
        Such as ``influence(...).standardised`` or ``.random_effect``. Missing ones take no part.

    Raises
    ------
    SaeInputError
        If fewer than three residuals are given, or all are equal.

    Examples
    --------
    >>> sae.quality.residual_normality(np.array([-1.2, -0.4, 0.1, 0.3, 1.1])).n
    5
    """
    (values,) = _complete([residuals], 3, "The test of normality")
    if np.ptp(values) == 0:
        raise SaeInputError("The test of normality needs residuals that differ; all are equal.")
    if len(values) > LARGEST:
        warnings.warn(
            f"The p-value of the test of normality is approximate beyond {LARGEST:,} values: "
            f"there are {len(values):,}.",
            SaeWarning,
            stacklevel=3,
        )
    statistic, p_value = shapiro_wilk(values)
    deviations = values - values.mean()
    second, third, fourth = (float(np.mean(deviations**power)) for power in (2, 3, 4))
    return Normality(statistic, p_value, third / second**1.5, fourth / second**2 - 3.0, len(values))


def _complete(columns: list[np.ndarray], least: int, what: str) -> list[np.ndarray]:
    """Return the columns at the rows where all are finite; refuse fewer than `least` rows."""
    try:
        arrays = [np.asarray(column, dtype=float).reshape(np.shape(column)[0]) for column in columns]
    except (TypeError, ValueError, IndexError):
        kinds = ", ".join(type(column).__name__ for column in columns)
        raise SaeInputError(
            f"{what} needs columns of numbers, not {kinds}.",
            hint='Give columns of the tables: fit.estimates["direct"], fit.residuals["standardised"].',
        ) from None
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise SaeInputError(f"{what} needs columns of one length, not {sorted(lengths)}.")
    rows = np.logical_and.reduce([np.isfinite(array) for array in arrays])
    if rows.sum() < least:
        raise SaeInputError(
            f"{what} needs at least {least} areas with all figures; {rows.sum()} of {len(rows)} have them."
        )
    return [array[rows] for array in arrays]
