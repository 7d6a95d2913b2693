"""Smoothed sampling variances: what a model takes for known when the direct variances are too noisy to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.literals import Smoothing
from sae.specs import one_of
from sae.tables import pandas_frame, to_numbers

__all__ = ["Smoothed", "smooth"]

FEWEST = 5  # domains with a usable variance below which a regression with two slopes is not a regression


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Smoothed variances of the domains.

    Attributes
    ----------
    vardir : ndarray of float, shape (n_domains,)
        Smoothed variances on the natural scale, positive for every sampled domain; NaN without a sample.
    n_eff : ndarray of float, shape (n_domains,)
        Effective sample sizes that go with them; the arcsine model takes 1/(4 n_eff). NaN for means.
    log : tuple of str
        Formula with its coefficients, how many domains it was fitted on and how many it filled.
    """

    vardir: np.ndarray
    n_eff: np.ndarray
    log: tuple[str, ...]


def smooth(
    frame: pd.DataFrame,
    method: Smoothing,
    *,
    share: bool | None = None,
    groups: np.ndarray | None = None,
) -> Smoothed:
    """Smooth the direct variances of one indicator over its domains.

    Parameters
    ----------
    frame : DataFrame
        One row per domain with n, estimate, variance and df; n = 0 without a sample.
    method : {"deff", "gvf", "arcsin"}
        "deff": one pooled design effect and one pooled p(1 − p) per group, ψ_d = deff·s²_g/n_d; for means one
        pooled unit variance, ψ_d = s²/n_d. Nothing of it hangs on the domain's own estimate: a variance that
        does gives the low shares more weight than the high ones and pulls a model down. "arcsin":
        deff/(4 n_d) on the arcsine scale; vardir as for "deff". "gvf": log-linear generalised variance
        function with the bias factor exp(s²/2), log v = b0 + b1 log p̃(1 − p̃) + b2 log n, for means
        log v = b0 + b1 log|estimate| + b2 log n; p̃ is the direct share shrunk towards the pooled one by
        moments, so it is never 0 or 1.
    share : bool, optional
        Whether the estimates are shares; by default they are when all lie in [0, 1].
    groups : ndarray of int, shape (n_domains,), optional
        Domains that share one p(1 − p): the same citizenship and period, say. All, by default.

    Returns
    -------
    Smoothed

    Raises
    ------
    SaeSpecError
        If the method does not exist, or is for shares only, or too few domains have a variance.
    SaeInputError
        If no domain has a usable variance.

    References
    ----------
    Wolter (2007), Introduction to Variance Estimation, 2nd ed., chapter 7; Rivest and Belmonte (2000), Survey
    Methodology 26, 67–78 (bias factor).

    Examples
    --------
    >>> frame = pd.DataFrame({"n": [10, 20, 30], "estimate": [0.0, 0.2, 0.3], "df": [9, 19, 29],
    ...                       "variance": [0.0, 0.008, 0.007]})
    >>> bool((smooth(frame, "deff").vardir > 0).all())
    True
    """
    one_of("smoothing", method, Smoothing)
    frame = pandas_frame(frame, "The direct estimates")
    n, estimate, variance, df = (to_numbers(frame, name) for name in ("n", "estimate", "variance", "df"))
    sampled = (n > 0) & np.isfinite(estimate)
    usable = sampled & (variance > 0) & (n >= 2)
    if share is None:
        share = bool(np.all((estimate[sampled] >= 0) & (estimate[sampled] <= 1)))
    inner = (estimate > 0) & (estimate < 1) if share else np.ones(n.size, dtype=bool)
    if not np.any(usable & inner):
        raise SaeInputError(
            f"None of the {int(sampled.sum())} domains has a variance above 0: nothing to smooth from.",
            hint="Use fewer, larger domains, or name clusters and strata so that variances can be computed.",
        )
    if method == "arcsin" and not share:
        raise SaeSpecError(
            "Smoothing on the arcsine scale is for shares, and these estimates are none.",
            hint="Use smoothing='gvf' or 'deff'.",
        )
    weight = np.where(usable, np.where(df >= 1, df, 1.0), 0.0)
    if not share:
        return _smooth_means(method, n, estimate, variance, sampled, usable, weight)

    # both sums are unbiased for their target where domains with an estimate of 0 or 1 stay in, as 0
    counted = sampled & (n >= 2) & np.isfinite(variance) & (estimate >= 0) & (estimate <= 1)
    weight = np.where(counted, np.where(df >= 1, df, 1.0), 0.0)
    element = np.where(counted, estimate * (1 - estimate) * n / np.maximum(n - 1, 1), 0.0)
    deff = float(np.sum(weight * np.where(counted, n * variance, 0.0)) / np.sum(weight * element))
    log = [f"pooled design effect {deff:.4g}, from {int(counted.sum())} domains"]
    if method == "gvf":
        rate, rate_log = _shrunk(estimate, n / deff, sampled)
        unit_variance = rate * (1 - rate)
        vardir, gvf_log = _gvf(variance, np.log(unit_variance), "log p(1-p)", n, usable, sampled)
        log += [rate_log, gvf_log]
    else:
        codes = np.zeros(n.size, dtype=np.int64) if groups is None else groups
        pooled = _pooled_unit_variance(element, weight, codes)
        unit_variance = pooled[codes]
        vardir = np.where(sampled, deff * unit_variance / np.maximum(n, 1), np.nan)
        several = f" in {len(pooled)} groups" if len(pooled) > 1 else ""
        values = name_some(f"{value:.4g}" for value in pooled)
        formula = f"vardir = {deff:.4g} p(1-p)/n with p(1-p) pooled{several}: {values}"
        if method == "arcsin":
            formula = f"variance on the arcsine scale {deff:.4g}/(4n); {formula}"
        log.append(formula)
    n_eff = np.where(sampled, unit_variance / vardir, np.nan)
    return Smoothed(vardir, n_eff, _log_lines(method, log, sampled, usable))


def _smooth_means(
    method: Smoothing,
    n: np.ndarray,
    estimate: np.ndarray,
    variance: np.ndarray,
    sampled: np.ndarray,
    usable: np.ndarray,
    weight: np.ndarray,
) -> Smoothed:
    if method == "gvf":
        size = np.abs(estimate)
        zero = usable & (size == 0)
        if zero.any():
            raise SaeSpecError(
                f"{int(zero.sum())} domains have an estimate of exactly 0, whose logarithm the GVF needs.",
                hint="Use smoothing='deff'.",
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            vardir, line = _gvf(variance, np.log(size), "log|estimate|", n, usable, sampled)
    else:
        unit = float(np.sum((weight * n * variance)[usable]) / np.sum(weight[usable]))
        vardir = np.where(sampled, unit / np.maximum(n, 1), np.nan)
        line = f"vardir = {unit:.6g}/n, one pooled unit variance (design effect included)"
    return Smoothed(vardir, np.full(n.size, np.nan), _log_lines(method, [line], sampled, usable))


def _pooled_unit_variance(element: np.ndarray, weight: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Mean p(1 - p) within the domains of each group; one degree of freedom of the whole keeps it above 0."""
    whole = float(np.sum(weight * element) / np.sum(weight))
    n_groups = int(codes.max()) + 1
    inside = np.bincount(codes, weight * element, n_groups)
    return (inside + whole) / (np.bincount(codes, weight, n_groups) + 1.0)


def _shrunk(p: np.ndarray, size: np.ndarray, sampled: np.ndarray) -> tuple[np.ndarray, str]:
    """Shares shrunk towards the pooled one, with the precision of a beta distribution found by moments."""
    size = np.where(sampled, size, 0.0)
    p = np.where(sampled, np.clip(p, 0.0, 1.0), 0.0)  # a calibrated share may lie a little outside
    total = size.sum()
    pooled = float(np.sum(size * p) / total)
    note = ""
    if pooled <= 0.0 or pooled >= 1.0:  # the same answer everywhere: half a case keeps the variance above 0
        pooled = (pooled * total + 0.5) / (total + 1.0)
        note = " (half a case added, since all domains gave the same 0 or 1)"
    binomial = pooled * (1 - pooled)
    excess = np.sum(size * (p - pooled) ** 2) - (np.count_nonzero(size) - 1) * binomial
    room = total - np.sum(size**2) / total
    between = max(0.0, float(excess / room)) if room > 0 else 0.0
    if between == 0.0:
        return np.full(
            p.size, pooled
        ), f"p is the pooled share {pooled:.4g}{note}: no variance between domains"
    precision = max(binomial / between - 1.0, 1.0)  # at least one case of the pooled share
    rate = (size * p + precision * pooled) / (size + precision)
    return (
        rate,
        f"p is the direct share shrunk to the pooled {pooled:.4g} as by {precision:.4g} effective cases",
    )


def _gvf(
    variance: np.ndarray,
    log_size: np.ndarray,
    size_name: str,
    n: np.ndarray,
    usable: np.ndarray,
    sampled: np.ndarray,
) -> tuple[np.ndarray, str]:
    """Regress the log variance on log size and log n; predict with the lognormal bias factor."""
    fitted = usable & np.isfinite(log_size)
    if fitted.sum() < FEWEST:
        raise SaeSpecError(
            f"A variance function needs at least {FEWEST} domains with a variance above 0; "
            f"{int(fitted.sum())} of {int(sampled.sum())} have one.",
            hint="Use smoothing='deff'.",
        )
    columns = np.column_stack([log_size, np.log(np.maximum(n, 1.0))])
    centre = columns[fitted].mean(axis=0)
    varies = np.ptp(columns[fitted], axis=0) > 1e-9  # what is the same everywhere belongs to the intercept
    X, y = (columns[fitted] - centre) * varies, np.log(variance[fitted])
    slopes, _, rank, _ = np.linalg.lstsq(X, y - y.mean(), rcond=1e-10)
    slopes = slopes * varies
    residual = y - y.mean() - X @ slopes
    s2 = float(residual @ residual) / (fitted.sum() - rank - 1)
    explained = 1.0 - float(residual @ residual) / float(np.sum((y - y.mean()) ** 2)) if y.std() > 0 else 1.0
    intercept = float(y.mean() - centre @ slopes)
    with np.errstate(invalid="ignore", over="ignore"):
        prediction = np.exp(intercept + columns @ slopes + s2 / 2)
    terms = [f"{slope:.4g} {name}" for slope, name in zip(slopes, (size_name, "log n"), strict=True) if slope]
    line = (
        f"log v = {' + '.join([f'{intercept:.4g}', *terms])}, R² {explained:.3f}, "
        f"bias factor exp(s²/2) = {np.exp(s2 / 2):.4g}, fitted on {int(fitted.sum())} domains"
    )
    beyond = sampled & ~np.isfinite(prediction)
    if beyond.any():
        raise SaeInputError(
            f"The variance function has no value for {int(beyond.sum())} sampled domains "
            f"(rows {name_some(np.flatnonzero(beyond))}): their estimate is 0.",
            hint="Use smoothing='deff'.",
        )
    return np.where(sampled, prediction, np.nan), line


def _log_lines(method: str, lines: list[str], sampled: np.ndarray, usable: np.ndarray) -> tuple[str, ...]:
    filled = int((sampled & ~usable).sum())
    return (
        f"variances smoothed by {method}: {'; '.join(lines)}",
        f"{int(sampled.sum())} sampled domains got a smoothed variance, {filled} of them had none above 0",
    )
