"""How single areas fit a Fay–Herriot model and pull at it: residuals, leverage, Cook's distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.calls import answered
from sae.errors import SaeInputError

__all__ = ["Influence", "influence"]


@dataclass(frozen=True, eq=False)
class Influence:
    """Residuals and influence of every area with a sample; arrays of shape (n_areas,).

    Attributes
    ----------
    fitted : ndarray
        x'β.
    residual : ndarray
        y - x'β.
    standardised : ndarray
        Residual over its standard deviation √(V (1 - h)) with V = σ²_u + vardir. It is also the predicted
        random effect over its own, and the deletion residual over its own, as long as σ²_u is held.
    leverage : ndarray
        h = x'(X'V^-1 X)^-1 x / V; sums to the number of coefficients.
    deleted : ndarray
        y less the prediction x'β from all other areas.
    deleted_standardised : ndarray
        `deleted` over its standard deviation, at the model variance of the other areas where it is given.
    cook : ndarray
        Cook's distance: the squared move of the coefficients without the area, in units of their covariance,
        over their number.
    random_effect : ndarray
        γ (y - x'β).
    """

    fitted: np.ndarray
    residual: np.ndarray
    standardised: np.ndarray
    leverage: np.ndarray
    deleted: np.ndarray
    deleted_standardised: np.ndarray
    cook: np.ndarray
    random_effect: np.ndarray


@answered
def influence(
    y: np.ndarray,
    X: np.ndarray,
    vardir: np.ndarray,
    sigma2_u: float,
    *,
    sigma2_u_without: np.ndarray | None = None,
) -> Influence:
    """Residuals, leverage and influence of the areas in a Fay–Herriot fit.

    Parameters
    ----------
    y, vardir : ndarray of float, shape (n_areas,)
        Direct estimates and their variances, on the scale of the model; areas with a sample only.
    X : ndarray of float, shape (n_areas, p)
    sigma2_u : float
        Estimated model variance.
    sigma2_u_without : ndarray of float, shape (n_areas,), optional
        The model variance estimated without each area, as a jackknife gives it: the deletion residuals are
        then those of a complete refit, so that Φ of the standardised ones is the probability integral
        transform. By default `sigma2_u` is held. Costs n times as much.

    Raises
    ------
    SaeInputError
        If there are no more areas than coefficients, or figures are missing.

    References
    ----------
    Cook (1977), Technometrics 19, 15–18; Rao and Molina (2015), section 6.4.

    Examples
    --------
    >>> fit = sae.quality.influence(np.array([1.0, 2.0, 6.0]), np.ones((3, 1)), np.ones(3), 0.0)
    >>> fit.leverage.round(4).tolist(), fit.deleted.round(4).tolist()
    ([0.3333, 0.3333, 0.3333], [-3.0, -1.5, 4.5])
    """
    y, X, vardir = (np.asarray(values, dtype=float) for values in (y, X, vardir))
    if not (np.isfinite(y).all() and np.isfinite(X).all() and np.isfinite(vardir).all()):
        raise SaeInputError("The influence of areas needs all figures; leave out areas without a sample.")
    n, p = X.shape
    if n <= p:
        raise SaeInputError(f"{n} areas and {p} coefficients leave no residuals to look at.")
    total = sigma2_u + vardir
    Q, beta = _gls(y, X, total)
    fitted = X @ beta
    residual = y - fitted
    leverage = np.einsum("ij,jk,ik->i", X, Q, X) / total
    # an area that alone carries a coefficient has leverage 1 and nothing to compare with
    rest = np.where(leverage < 1 - 1e-10, 1 - leverage, np.nan)
    standardised = residual / np.sqrt(total * rest)
    deleted, deleted_standardised = residual / rest, standardised
    if sigma2_u_without is not None:
        deleted, deleted_standardised = _refitted(
            y, X, vardir, np.asarray(sigma2_u_without, dtype=float), rest
        )
    return Influence(
        fitted=fitted,
        residual=residual,
        standardised=standardised,
        leverage=leverage,
        deleted=deleted,
        deleted_standardised=deleted_standardised,
        cook=standardised**2 * leverage / (rest * p),
        random_effect=sigma2_u / total * residual,
    )


def _gls(y: np.ndarray, X: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weighted = X / total[:, None]
    Q = np.linalg.inv(X.T @ weighted)
    return Q, Q @ (weighted.T @ y)


def _refitted(
    y: np.ndarray, X: np.ndarray, vardir: np.ndarray, without: np.ndarray, rest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    deleted, scale = np.full_like(y, np.nan), np.full_like(y, np.nan)
    for i in np.flatnonzero(np.isfinite(rest)):
        others = np.arange(len(y)) != i
        Q, beta = _gls(y[others], X[others], without[i] + vardir[others])
        deleted[i] = y[i] - X[i] @ beta
        scale[i] = np.sqrt(without[i] + vardir[i] + X[i] @ Q @ X[i])
    return deleted, deleted / scale
