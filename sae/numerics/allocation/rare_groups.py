"""Rare groups: sampling rates of strata of different density, and what oversampling costs the others."""

from __future__ import annotations

import numpy as np

__all__ = ["kalton_anderson", "oversampling_deff"]


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
    >>> rate = kalton_anderson(np.array([0.30, 0.08, 0.02]), 6.0)
    >>> (rate / rate.min()).round(3).tolist()
    [2.569, 1.773, 1.0]
    """
    rate = np.sqrt(density / (density * (cost_ratio - 1.0) + 1.0))
    return rate if sd is None else sd * rate


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
