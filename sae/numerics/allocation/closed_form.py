"""Allocations of a given total: proportional, Neyman, power and the compromises between nation and domains.

Every rule but Molefe–Clark and Choudhry–Rao–Hidiroglou is a set of weights: `fill` turns weights into sizes
within bounds, and `round_to_total` or `neyman_integer` into whole numbers that add up.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "choudhry_rao_hidiroglou",
    "costa_weights",
    "fill",
    "longford_weights",
    "molefe_clark",
    "neyman_integer",
    "power_weights",
    "round_to_total",
]

_BISECTIONS = 200


def fill(
    weights: np.ndarray, total: float, lower: np.ndarray, upper: np.ndarray, cost: np.ndarray | None = None
) -> np.ndarray:
    """Return n_h = min(u_h, max(l_h, t w_h)) with t such that Σ c_h n_h = total.

    With w_h = N_h S_h / √c_h this is the exact optimum within the bounds (the fixed point of recursive Neyman
    allocation): the conditions of Karush, Kuhn and Tucker leave no other form.

    Parameters
    ----------
    weights, lower, upper : ndarray, shape (H,)
        Weights are not negative; 0 <= l <= u.
    total : float
        What the sizes, or their costs, add up to.
    cost : ndarray, shape (H,), optional
        Cost of one unit; 1 if absent.

    Raises
    ------
    ValueError
        If the bounds leave no allocation of this total.

    References
    ----------
    Wesołowski, Wieczorkowski and Wójciak (2022), J. Survey Statistics and Methodology 10, 1263-1275.

    Examples
    --------
    >>> fill(np.array([1.0, 2.0, 7.0]), 100, np.zeros(3), np.array([90.0, 90.0, 40.0])).tolist()
    [20.0, 40.0, 40.0]
    """
    cost = np.ones(len(weights)) if cost is None else cost
    least, most = float(cost @ lower), float(cost @ upper)
    slack = 1e-12 * max(1.0, abs(total))
    if not least - slack <= total <= most + slack:
        raise ValueError(f"no allocation of {total:g} lies within bounds that cost {least:g} to {most:g}")
    grows = weights > 0
    room = np.where(grows, upper, lower)
    if total >= float(cost @ room):
        # strata without weight share what the others cannot take, in proportion to their room
        left = float(cost[~grows] @ (upper - lower)[~grows])
        share = (total - float(cost @ room)) / left if left > 0 else 0.0
        return np.where(grows, upper, lower + min(share, 1.0) * (upper - lower))
    n = lower.astype(float).copy()
    w, low, high, c = weights[grows], lower[grows], upper[grows], cost[grows]
    ends = np.concatenate([low / w, high / w])
    # Σ c n is linear in t between the points where a stratum leaves its lower or reaches its upper bound
    order = np.argsort(ends, kind="stable")
    slope = np.cumsum(np.concatenate([c * w, -c * w])[order])
    at = ends[order]
    spent = float(cost @ lower) + np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(at))])
    k = int(np.clip(np.searchsorted(spent, total, side="right") - 1, 0, len(at) - 1))
    t = at[k] + ((total - spent[k]) / slope[k] if slope[k] > 1e-14 * slope.max() else 0.0)
    n[grows] = np.clip(t * w, low, high)
    return n


def neyman_integer(spread: np.ndarray, total: int, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return the whole numbers that minimise Σ spread_h² / n_h with Σ n_h = total within bounds: exactly.

    The (k + 1)-th unit of a stratum gains spread² / (k (k + 1)), less with every k: taking the `total`
    largest gains is optimal. Bisection finds their threshold; ties at it go to the first strata in order.

    Parameters
    ----------
    spread : ndarray, shape (H,)
        N_h S_h times the root of the design effect.
    total : int
    lower, upper : ndarray of int, shape (H,)
        1 <= l <= u.

    References
    ----------
    Friedrich, Münnich, de Vries and Wagner (2015), Computational Statistics and Data Analysis 92, 1-12.

    Examples
    --------
    >>> neyman_integer(np.array([1.0, 3.0]), 5, np.ones(2, int), np.full(2, 9)).tolist()
    [1, 4]
    """
    lower, upper = np.asarray(lower, np.int64), np.asarray(upper, np.int64)
    if not lower.sum() <= total <= upper.sum():
        raise ValueError(f"no allocation of {total} lies within bounds from {lower.sum()} to {upper.sum()}")
    square = np.asarray(spread, float) ** 2

    def sizes(threshold: float) -> np.ndarray:
        # the largest n with spread² / ((n - 1) n) >= threshold
        ratio = np.minimum(square / threshold, 1e30)
        n = np.floor((1.0 + np.sqrt(1.0 + 4.0 * ratio)) / 2.0)
        return np.clip(n, lower, upper).astype(np.int64)

    high = float((square / (lower * np.maximum(lower - 1, 0.5))).max()) * 2.0 + 1e-300
    low = float((square[square > 0] / (upper * (upper + 1.0))[square > 0]).min(initial=high)) / 2.0
    for _ in range(_BISECTIONS):
        middle = float(np.sqrt(low * high))
        if not low < middle < high:
            break
        if sizes(middle).sum() > total:
            low = middle
        else:
            high = middle
    n = sizes(high)
    # then the units whose gain lies at the threshold, then strata without spread
    for room in (sizes(low) - n, upper - n):
        taken = np.diff(np.minimum(np.cumsum(room), total - n.sum()), prepend=0)
        n = n + taken
    return n


def round_to_total(n: np.ndarray, total: int, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Round sizes that add up to `total` by largest remainders, within whole-number bounds.

    Examples
    --------
    >>> round_to_total(np.array([1.4, 2.4, 6.2]), 10, np.ones(3, int), np.full(3, 99)).tolist()
    [2, 2, 6]
    """
    lower, upper = np.asarray(lower, np.int64), np.asarray(upper, np.int64)
    whole = np.clip(np.floor(n + 1e-9).astype(np.int64), lower, upper)
    while (short := int(total - whole.sum())) != 0:
        step = 1 if short > 0 else -1
        open_ = np.flatnonzero(whole < upper if step > 0 else whole > lower)
        if not len(open_):
            raise ValueError(f"no whole numbers within the bounds add up to {total}")
        order = np.argsort(-step * (n - whole)[open_], kind="stable")
        whole[open_[order[: abs(short)]]] += step
    return whole


def power_weights(size: np.ndarray, cv: np.ndarray, q: float) -> np.ndarray:
    """X_h^q S_h / |Ȳ_h|: equal CVs at q = 0, Neyman at q = 1 with X the total of the variable.

    References
    ----------
    Bankier (1988), The American Statistician 42, 174-177.
    """
    return size**q * cv


def costa_weights(population: np.ndarray, k: float) -> np.ndarray:
    """K W_h + (1 - k) / H: between proportional (k = 1) and equal (k = 0).

    References
    ----------
    Costa, Satorra and Ventura (2004), SORT 28, 69-86.
    """
    return k * population / population.sum() + (1.0 - k) / len(population)


def longford_weights(population: np.ndarray, sd: np.ndarray, q: float, national: float) -> np.ndarray:
    """S_h sqrt(N_h^q + G Σ N^q W_h²): minimises Σ N_h^q v_h + G (Σ N^q) v of the nation.

    References
    ----------
    Longford (2006), Survey Methodology 32, 91-101.
    """
    importance = population**q
    share = population / population.sum()
    return sd * np.sqrt(importance + national * importance.sum() * share**2)


def molefe_clark(
    importance: np.ndarray, total: float, rho: float, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Minimise Σ a_d σ² ρ (1 - ρ) / (1 + (n_d - 1) ρ), the weighted MSE of composite estimators.

    With k = (1 - ρ) / ρ the sizes n_d + k are proportional to √a_d; what leaves its bounds is set to them and
    the rest is solved again, which `fill` does in one pass.

    Parameters
    ----------
    importance : ndarray, shape (D,)
        a_d, such as N_d^q.
    rho : float
        Intra-domain correlation, between 0 and 1.

    References
    ----------
    Molefe and Clark (2015), Survey Methodology 41, 377-398.

    Examples
    --------
    >>> size = np.array([1e6, 4e5, 1e5, 5e4])
    >>> molefe_clark(size, 1000, 0.05, np.zeros(4), size).round(2).tolist()
    [476.33, 294.27, 137.64, 91.76]
    """
    k = (1.0 - rho) / rho
    return fill(np.sqrt(importance), total + k * len(importance), lower + k, upper + k) - k


def choudhry_rao_hidiroglou(
    population: np.ndarray,
    sd: np.ndarray,
    cv: np.ndarray,
    domain_cv: np.ndarray,
    national_variance: float,
    cost: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
) -> np.ndarray:
    """Cheapest sizes with CV_d <= domain_cv_d in each domain and a bound on the nation's variance.

    Parameters
    ----------
    population, sd, cv, domain_cv : ndarray, shape (D,)
        N_d; S_d; S_d / |Ȳ_d|; the largest CV allowed, infinite for none.
    national_variance : float
        Largest variance of Σ W_d ȳ_d, with the finite population correction; infinite for none.
    cost, lower, upper : ndarray, shape (D,)

    Raises
    ------
    ValueError
        If the bounds do not admit the targets.

    References
    ----------
    Choudhry, Rao and Hidiroglou (2012), Survey Methodology 38, 23-29.
    """
    needed = cv**2 / (domain_cv**2 + cv**2 / population)
    least = np.maximum(lower, needed)
    if (least > upper * (1.0 + 1e-12)).any():
        bad = int(np.argmax(least / upper))
        raise ValueError(f"domain {bad} needs {least[bad]:.1f} units, more than its bound {upper[bad]:g}")
    least = np.minimum(least, upper)
    share = population / population.sum()

    def variance(n: np.ndarray) -> float:
        return float((share**2 * sd**2 * (1.0 / n - 1.0 / population)).sum())

    if variance(least) <= national_variance:
        return least
    if variance(upper) > national_variance:
        raise ValueError("the national target fails even at the upper bounds")
    weights = share * sd / np.sqrt(cost)
    low, high = 0.0, float((upper / np.where(weights > 0, weights, np.inf)).max())
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if variance(np.clip(middle * weights, least, upper)) > national_variance:
            low = middle
        else:
            high = middle
    return np.clip(high * weights, least, upper)
