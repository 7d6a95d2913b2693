"""Log prior densities of a standard deviation, as kernels know them: a code and its scale.

The density is over the standard deviation s, up to a constant: "flat-variance" is p(s²) constant, that is
p(s) ∝ s.
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import inlined

__all__ = [
    "FLAT_SD",
    "FLAT_VARIANCE",
    "HALF_CAUCHY",
    "HALF_NORMAL",
    "PC",
    "SPARE",
    "data_unit",
    "log_prior",
    "log_prior_sd",
]

FLAT_VARIANCE, FLAT_SD, HALF_NORMAL, HALF_CAUCHY, PC = range(5)
# areas beyond the coefficients that make the posterior proper, coefficients flat
_ROUNDING = 1e-12  # of the largest value: what alike values differ by
SPARE = {FLAT_VARIANCE: 3, FLAT_SD: 2, HALF_NORMAL: 0, HALF_CAUCHY: 0, PC: 0}


def data_unit(outcome: np.ndarray) -> float:
    """Return the scale of a prior that has none: the standard deviation of what is modelled, to three digits.

    Three digits, so that the prior's name with its scale says exactly what it is; 1 for a single value, or
    where all are alike.

    Parameters
    ----------
    outcome : ndarray, shape (n,)
        Of the fit's rows with a sample, on the model's scale.

    Examples
    --------
    >>> data_unit(np.array([1.0, 2.0, 4.0]))
    1.53
    """
    spread = float(np.std(outcome, ddof=1)) if len(outcome) > 1 else 0.0
    if not spread > _ROUNDING * float(np.abs(outcome).max(initial=0.0)):
        return 1.0
    return float(f"{spread:.3g}")


def log_prior(prior: tuple[int, float], sd: np.ndarray) -> np.ndarray:
    """Return the log density at standard deviations, any shape.

    Parameters
    ----------
    prior : (code, scale)
        HALF_NORMAL and HALF_CAUCHY: p(s) ∝ exp(-s² / 2 scale²) and 1 / (1 + s² / scale²); PC: p(s) ∝ exp(-s /
        scale), with scale = -u / log alpha for P(s > u) = alpha (Simpson et al. 2017, Stat. Sci. 32, 1-28).
        The flat ones ignore their scale.
    """
    code, scale = prior
    if code == FLAT_VARIANCE:
        with np.errstate(divide="ignore"):
            return np.log(sd)
    if code == FLAT_SD:
        return np.zeros(np.shape(sd))
    if code == HALF_NORMAL:
        return -0.5 * (sd / scale) ** 2
    if code == HALF_CAUCHY:
        return -np.log1p((sd / scale) ** 2)
    return -sd / scale


@inlined
def log_prior_sd(code, scale, sd):
    """`log_prior` of one number, inside a kernel."""
    if code == FLAT_VARIANCE:
        return math.log(sd) if sd > 0.0 else -math.inf
    if code == FLAT_SD:
        return 0.0
    if code == HALF_NORMAL:
        return -0.5 * (sd / scale) ** 2
    if code == HALF_CAUCHY:
        return -math.log1p((sd / scale) ** 2)
    return -sd / scale
