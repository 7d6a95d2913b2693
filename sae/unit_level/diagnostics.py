"""How units and areas fit a nested error model: residuals of units, areas left out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, counted
from sae.numerics.nested_error.influence import area_influence as left_out
from sae.numerics.nested_error.profile import AreaSums, area_sums
from sae.results import Result

__all__ = ["area_influence", "unit_residuals"]

_ELEMENTS = 4_000_000  # numbers held at a time


def unit_residuals(fit: Result) -> pd.DataFrame:
    """Residuals of the units beyond the effect of their area; those of areas stand in ``fit.residuals``.

    Parameters
    ----------
    fit : Result
        Of `NestedError`, `TwoFoldNestedError`, `RobustNestedError`, or `EBP`: there of the transformed
        outcome.

    Returns
    -------
    DataFrame
        One row per unit as the fit read them, of an EBP those of areas of the population: ``domain``,
        ``fitted`` (x'β and the predicted effects), ``residual``, and ``standardised``: over σe, or σe k where
        errors have known factors; with the clusters of an EBP over √(σv² + σe²), their effects being in it.

    Raises
    ------
    SaeSpecError
        If the model has no effects added to a regression of units.

    Examples
    --------
    >>> units = pd.DataFrame({"area": list("AAABBBCCC"), "y": [1.0, 2, 2, 5, 6, 7, 3, 3, 4]})
    >>> fit = sae.NestedError("y ~ 1", domain="area").fit(units)
    >>> sae.unit_level.unit_residuals(fit)["residual"].round(2).tolist()[:3]
    [-0.74, 0.26, 0.26]
    """
    data, rows = fit.data, fit.residuals.index.to_numpy()
    effects = np.zeros(len(data.sampled))
    beta = _coefficients(fit)
    effects[rows] = fit.residuals["effect"]
    fitted = data.X @ beta + effects[data.row]
    residual = data.outcome - fitted
    table = pd.DataFrame(
        {
            "domain": data.labels[data.row],
            "fitted": fitted,
            "residual": residual,
            "standardised": residual / np.sqrt(_variances(fit)),
        }
    )
    return table[data.row >= 0].reset_index(drop=True)  # an EBP keeps areas that its population has not


def area_influence(fit: Result) -> pd.DataFrame:
    """Leave out each area with all its units: what moves, and how well the others foretell it.

    Variances are held; nothing is fitted again.

    Parameters
    ----------
    fit : Result
        Of `NestedError` or `EBP` without weights and clusters; of an EBP the model of the transformed
        outcome, its transformation held.

    Returns
    -------
    DataFrame
        One row per area with a sample, by row of the table: ``domain``; ``cook``, Cook's distance, the
        squared move of the coefficients in units of their covariance, over their number; ``deleted``, the
        mean of its units less x̄'β without the area, and ``deleted_standardised``, over its standard
        deviation; of means ``synthetic``, the estimate that the area would have without its units,
        ``largest_move`` of the estimate of another area, in standard errors of that, and ``of``, its name;
        and a column per coefficient: the coefficient less that without the area. NaN where the others do not
        tell all coefficients.

    Raises
    ------
    SaeSpecError
        If the coefficients are no generalised least squares with one area effect.
    SaeInputError
        If units of the fit are of areas that the population of an EBP has not.

    References
    ----------
    Cook (1977), Technometrics 19, 15-18; Christensen, Pearson and Johnson (1992), Technometrics 34, 38-45.

    Examples
    --------
    >>> units = pd.DataFrame({"area": list("AAABBBCCC"), "y": [1.0, 2, 2, 5, 6, 7, 3, 3, 4]})
    >>> fit = sae.NestedError("y ~ 1", domain="area").fit(units)
    >>> sae.unit_level.area_influence(fit)["Intercept"].round(2).tolist()  # B pulls up
    [-1.0, 1.17, -0.17]
    """
    beta = _coefficients(fit)
    others = any(getattr(fit.spec, name, None) is not None for name in ("weights", "clusters"))
    if fit.spec.kind not in ("nested_error", "ebp") or others:
        raise SaeSpecError(
            "area_influence() is of coefficients by generalised least squares with one area effect.",
            hint="Fit sae.NestedError or sae.EBP without weights and clusters.",
        )
    outside = int((fit.data.row < 0).sum())
    if outside:
        raise SaeInputError(
            f"{counted(outside, 'unit of the fit is', 'units of the fit are')} of areas that the population "
            "has not, which cannot be told apart.",
            hint="Fit with a population of all areas that the sample has.",
        )
    data, sigma2_u, sigma2_e = fit.data, _component(fit, "sigma2_u"), _component(fit, "sigma2_e")
    k = np.sqrt(_variances(fit) / sigma2_e)
    sums = area_sums(data.outcome, data.X, data.row, len(data.sampled), k)
    found = left_out(sums, sigma2_u, sigma2_e, beta)
    rows = np.flatnonzero(sums.n > 0)
    table = pd.DataFrame(
        {
            "domain": data.labels[rows],
            "cook": found.cook,
            "deleted": found.deleted,
            "deleted_standardised": found.deleted / found.spread,
            **({} if data.means is None else _moves(fit, sums, rows, found.move)),
        },
        index=pd.Index(rows, name="row"),
    )
    return table.join(pd.DataFrame(found.move, index=table.index, columns=list(data.columns)))


def _moves(fit: Result, sums: AreaSums, rows: np.ndarray, move: np.ndarray) -> dict[str, np.ndarray]:
    """Return what leaving out each of the areas in `rows` does to the estimates."""
    frame, means = fit.estimates.frame, fit.data.means
    assert means is not None  # of every nested error model
    gamma, f = np.nan_to_num(frame["gamma"].to_numpy(dtype=float)), means.sampled(sums.n)
    loadings = means.x_mean - (f + (1.0 - f) * gamma)[:, None] * sums.x_mean
    loadings /= frame["se"].to_numpy(dtype=float)[:, None]
    largest, of = np.empty(len(rows)), np.empty(len(rows), dtype=np.int64)
    size = max(1, _ELEMENTS // len(loadings))
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        moved = np.nan_to_num(np.abs(move[part] @ loadings.T))
        moved[np.arange(len(moved)), rows[part]] = 0.0
        of[part], largest[part] = moved.argmax(axis=1), moved.max(axis=1)
    known = np.isfinite(move).all(axis=1)
    return {
        "synthetic": (means.x_mean[rows] * (_coefficients(fit) - move)).sum(axis=1),
        "largest_move": np.where(known, largest, np.nan),
        "of": np.where(known, fit.data.labels[of], ""),
    }


def _coefficients(fit: Result) -> np.ndarray:
    if "effect" not in fit.residuals:
        raise SaeSpecError(
            f"{type(fit.spec).__name__} has no effects added to a regression of units.",
            hint="Residuals of areas stand in fit.residuals; a posterior has fit.predictive_check(seed=1).",
        )
    return fit.coefficients["coef"].to_numpy(dtype=float)


def _component(fit: Result, name: str) -> float:
    return float(np.asarray(fit.variance_components[name], dtype=float))


def _variances(fit: Result) -> np.ndarray:
    """Variances of the errors of units."""
    known = fit.data.vardir
    own = _component(fit, "sigma2_e")
    if fit.spec.kind == "ebp" and "sigma2_v" in fit.variance_components:  # clusters: their effects are in it
        own += _component(fit, "sigma2_v")
    return np.where(np.isfinite(known), known, own)
