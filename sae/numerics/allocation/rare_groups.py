"""Rare groups: strata of different density, screening, and what oversampling costs the others."""

from __future__ import annotations

import numpy as np

__all__ = [
    "flagged_density",
    "group_interviews",
    "kalton_anderson",
    "oversampling_deff",
    "screening_size",
    "two_phase_variance",
]


def kalton_anderson(density: np.ndarray, cost_ratio: float, sd: np.ndarray | None = None) -> np.ndarray:
    """Return the best sampling rates, up to a factor, for a rare group: S_h sqrt(P_h / (P_h (c - 1) + 1)).

    Parameters
    ----------
    density : ndarray, shape (H,)
        P_h, the group's share of stratum h.
    cost_ratio : float
        c = cost of a screened and interviewed member over the cost of screening alone; at least 1.
    sd : ndarray, shape (H,), optional
        S_h within the group; equal if absent.

    References
    ----------
    Kalton and Anderson (1986), J. Royal Statistical Society A 149, 65-82.

    Examples
    --------
    >>> import numpy as np
    >>> rate = kalton_anderson(np.array([0.30, 0.08, 0.02]), 6.0)
    >>> (rate / rate.min()).round(3).tolist()
    [2.569, 1.773, 1.0]
    """
    rate = np.sqrt(density / (density * (cost_ratio - 1.0) + 1.0))
    return rate if sd is None else sd * rate


def group_interviews(n: np.ndarray, density: np.ndarray) -> float:
    """Return the expected interviews with members of the group, Σ n_h P_h."""
    return float(n @ density)


def oversampling_deff(size: np.ndarray, rate: np.ndarray) -> float:
    """Design effect of unequal rates on a mean of equal variances: (Σ M_h f_h)(Σ M_h / f_h) / M².

    With M_h the members of the group it is the group's, with N_h the whole population's: the price that
    national estimates pay.

    Parameters
    ----------
    size, rate : ndarray, shape (H,)
        People in the stratum; sampling rate, up to a factor.
    """
    here = size > 0
    size, rate = size[here], rate[here]
    return float((size @ rate) * (size / rate).sum() / size.sum() ** 2)


def screening_size(
    interviews: float, density: float, contact: float = 1.0, screen: float = 1.0, interview: float = 1.0
) -> float:
    """Return the addresses to issue for so many interviews: m / (P · r_contact · r_screen · r_interview)."""
    return interviews / (density * contact * screen * interview)


def flagged_density(
    density: np.ndarray, sensitivity: float, specificity: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split strata by an imperfect indicator of membership: a first-phase question, a register flag.

    Parameters
    ----------
    density : ndarray, shape (H,)
    sensitivity, specificity : float
        Share of members that are flagged; share of the others that are not.

    Returns
    -------
    flagged, density_flagged, density_unflagged : ndarray, shape (H,)
        Share of the stratum that is flagged, and the group's share within and outside. Members whom the
        indicator misses stay in the last: their part needs a rate above 0.

    Examples
    --------
    >>> import numpy as np
    >>> [part.round(4).tolist() for part in flagged_density(np.array([0.1]), 0.9, 0.95)]
    [[0.135], [0.6667], [0.0116]]
    """
    flagged = density * sensitivity + (1.0 - density) * (1.0 - specificity)
    with np.errstate(invalid="ignore", divide="ignore"):
        within = np.where(flagged > 0, density * sensitivity / flagged, 0.0)
        outside = np.where(flagged < 1, density * (1.0 - sensitivity) / (1.0 - flagged), 0.0)
    return flagged, within, outside


def two_phase_variance(
    first: float, share: np.ndarray, sd: np.ndarray, mean: np.ndarray, rate: np.ndarray
) -> float:
    """Variance of a mean under two-phase sampling for stratification: S²/n′ + Σ W_h S_h² (1/ν_h - 1) / n′.

    Parameters
    ----------
    first : float
        n′, size of the first phase.
    share, sd, mean, rate : ndarray, shape (H,)
        W_h; S_h; Ȳ_h (they make S² = Σ W (S_h² + (Ȳ_h - Ȳ)²)); ν_h, share of the first phase interviewed.

    References
    ----------
    Cochran (1977), Sampling Techniques, 3rd ed., equation (12.3), for large strata.
    """
    spread = float((share * (sd**2 + (mean - share @ mean) ** 2)).sum())
    return (spread + float((share * sd**2 * (1.0 / rate - 1.0)).sum())) / first
