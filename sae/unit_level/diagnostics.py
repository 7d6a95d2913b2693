"""How units and areas fit a nested error model: residuals of units, areas left out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError
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
        errors have known factors.

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
    if fit.spec.kind == "ebp":
        beta = fit.coefficients["coef"].to_numpy(dtype=float)
        gamma = fit.estimates.frame["gamma"].to_numpy(dtype=float)
        effects[rows] = gamma[rows] * fit.residuals["residual"]
    else:
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
        Of `NestedError` without weights.

    Returns
    -------
    DataFrame
        One row per area with a sample, by row of the table: ``domain``; ``cook``, Cook's distance, the
        squared move of the coefficients in units of their covariance, over their number; ``deleted``, the
        mean of its units less x̄'β without the area, and ``deleted_standardised``, over its standard
        deviation; ``synthetic``, the estimate that the area would have without its units; ``largest_move`` of
        the estimate of another area, in standard errors of that, and ``of``, its name; and a column per
        coefficient: the coefficient less that without the area. NaN where the others do not tell all
        coefficients.

    Raises
    ------
    SaeSpecError
        If the coefficients are no generalised least squares with one area effect.

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
    if fit.spec.kind != "nested_error" or getattr(fit.spec, "weights", None) is not None:
        raise SaeSpecError(
            "area_influence() is of coefficients by generalised least squares with one area effect.",
            hint="Fit sae.NestedError without weights.",
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
            **_moves(fit, sums, rows, found.move),
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
            hint="Fit sae.NestedError, sae.TwoFoldNestedError or sae.RobustNestedError.",
        )
    return fit.coefficients["coef"].to_numpy(dtype=float)


def _component(fit: Result, name: str) -> float:
    return float(np.asarray(fit.variance_components[name], dtype=float))


def _variances(fit: Result) -> np.ndarray:
    """Variances of the errors of units."""
    known = fit.data.vardir
    return np.where(np.isfinite(known), known, _component(fit, "sigma2_e"))
