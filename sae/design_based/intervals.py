"""Confidence intervals of direct estimates: t for means; logit or Korn–Graubard for shares."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, stdtrit

__all__ = ["intervals", "korn_graubard"]

# Below this many effective cases (or non-cases) the logit of a share is not near enough to normal.
FEW_CASES = 10.0


def intervals(
    estimate: np.ndarray,
    variance: np.ndarray,
    n: np.ndarray,
    n_eff: np.ndarray,
    df: np.ndarray,
    *,
    share: bool,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interval of each domain, and its name.

    Means take estimate ± t·se with the domain's degrees of freedom. Shares take the t interval on the logit
    scale, and the Korn–Graubard interval where fewer than ten effective cases or non-cases stand behind them
    or the variance is missing. A share estimated 0 or 1 gets a one-sided Korn–Graubard bound: its variance of
    0 is never taken for certainty.

    Parameters
    ----------
    estimate, variance : ndarray of float, shape (n_domains,)
        Direct estimates and their design variances; NaN where there is none.
    n : ndarray of int, shape (n_domains,)
        Records behind each estimate.
    n_eff : ndarray of float, shape (n_domains,)
        Effective sample sizes; where NaN, p(1 − p)/variance, and `n` where that is not to be had either.
    df : ndarray of float, shape (n_domains,)
        Degrees of freedom of the variances; below 1 (one cluster) a share counts as one observation.
    share : bool
        Whether the estimates are shares.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    low, high : ndarray of float, shape (n_domains,)
        NaN where there is no interval; 0 or 1 at the open side of a one-sided interval.
    names : ndarray of str, shape (n_domains,)
        "t", "logit t", "Korn-Graubard", "one-sided Korn-Graubard", or "" where there is no interval.

    References
    ----------
    Korn and Graubard (1998), Survey Methodology 24, 193–201; Franco, Little, Louis and Slud (2019), Journal
    of Survey Statistics and Methodology 7, 334–364; Heeringa, West and Berglund (2017), Applied Survey Data
    Analysis, 2nd ed., section 5.3 (logit).

    Examples
    --------
    >>> low, high, names = intervals(np.array([0.0]), np.array([0.0]), np.array([20]), np.array([np.nan]),
    ...                              np.array([19.0]), share=True)
    >>> low.round(3), high.round(3), names
    (array([0.]), array([0.139]), array(['one-sided Korn-Graubard'], dtype=object))
    """
    p, v, df = (np.asarray(values, dtype=float) for values in (estimate, variance, df))
    n, n_eff = np.asarray(n, dtype=float), np.asarray(n_eff, dtype=float)
    low, high = np.full(p.size, np.nan), np.full(p.size, np.nan)
    names = np.full(p.size, "", dtype=object)
    in_range = np.isfinite(p) & (n > 0) & (p >= 0.0) & (p <= 1.0)
    plain = np.isfinite(p) & (v > 0) & (df >= 1.0) & (~in_range if share else True)
    half = stdtrit(df[plain], 0.5 + level / 2) * np.sqrt(v[plain])
    low[plain], high[plain], names[plain] = p[plain] - half, p[plain] + half, "t"
    if not share:
        return low, high, names

    effective = np.where(n_eff > 0, n_eff, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(np.isnan(effective) & (v > 0), p * (1 - p) / v, effective)
    known = np.isfinite(effective) & (effective > 0)
    effective = np.where(known, effective, n)
    edge = in_range & ((p == 0.0) | (p == 1.0))
    few = ~known | (df < 1.0) | np.isnan(df) | (effective * np.minimum(p, 1 - p) < FEW_CASES)
    exact = in_range & few
    low[exact], high[exact] = korn_graubard(p[exact], n[exact], effective[exact], df[exact], level=level)
    names[exact] = np.where(edge[exact], "one-sided Korn-Graubard", "Korn-Graubard")
    smooth = in_range & ~few
    q = p[smooth]
    half = stdtrit(df[smooth], 0.5 + level / 2) / np.sqrt(effective[smooth] * q * (1 - q))
    odds = np.log(q / (1 - q))
    low[smooth], high[smooth] = 1 / (1 + np.exp(half - odds)), 1 / (1 + np.exp(-half - odds))
    names[smooth] = "logit t"
    return low, high, names


def korn_graubard(
    p: np.ndarray, n: np.ndarray, n_eff: np.ndarray, df: np.ndarray, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Clopper–Pearson bounds at the effective sample size, adjusted for the degrees of freedom.

    n* = min(n, n_eff (t_{n−1}/t_df)²) with the two-sided quantiles of `level`; then the beta quantiles of
    x = n* p cases among n*. At p = 0 or 1 the whole error goes to the one side that is open.

    Parameters
    ----------
    p : ndarray of float, shape (n_domains,)
        Shares in [0, 1].
    n, n_eff, df : ndarray of float, shape (n_domains,)
        Records, effective sample sizes, degrees of freedom; a `df` below 1 or missing makes n* = 1.
    level : float
        Confidence level.

    Returns
    -------
    low, high : ndarray of float, shape (n_domains,)

    References
    ----------
    Korn and Graubard (1998), Survey Methodology 24, 193–201, section 3.

    Examples
    --------
    >>> low, high = korn_graubard(np.array([0.2]), np.array([10.0]), np.array([10.0]), np.array([9.0]))
    >>> low.round(4), high.round(4)                                     # Clopper–Pearson for 2 of 10
    (array([0.0252]), array([0.5561]))
    """
    upper = 0.5 + level / 2
    free = np.where(df >= 1.0, df, 1.0)
    ratio = (stdtrit(np.maximum(n - 1.0, 1.0), upper) / stdtrit(free, upper)) ** 2
    size = np.where(df >= 1.0, np.minimum(n, n_eff * ratio), np.minimum(n, 1.0))
    edge = (p == 0.0) | (p == 1.0)
    tail = np.where(edge, 1.0 - level, (1.0 - level) / 2.0)
    cases = size * p
    with np.errstate(invalid="ignore"):
        low = np.where(p == 0.0, 0.0, betaincinv(cases, size - cases + 1.0, tail))
        high = np.where(p == 1.0, 1.0, betaincinv(cases + 1.0, size - cases, 1.0 - tail))
    return low, high
