"""What a planner takes from a fitted model: variances, design effects, and all that is known of σu."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.allocation.with_model import PlannedModel
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE
from sae.numerics.inference.transforms import TRANSFORMS, Transform
from sae.results import Result
from sae.samplers import VarianceNodes
from sae.tables import to_numbers

__all__ = ["FittedModel"]

_NESTED = "nested_error"
_KINDS = ("fay_herriot", _NESTED)
_STRUCTURE = ("spatial", "temporal")
_NOW = [
    "n",
    "n_eff",
    "direct",
    "direct_se",
    "direct_cv",
    "estimate",
    "se",
    "cv",
    "gamma",
    "flag",
    "publishable",
]
_EVEN = 200  # nodes of equal weight: probabilities to half a percent


@dataclass(frozen=True, eq=False)
class FittedModel:
    """The areas of a fit as a planner sees them; rows in the order of the estimate table.

    Attributes
    ----------
    domain : ndarray of str, shape (D,)
    estimate, slope : ndarray, shape (D,)
        Estimates on the reported scale, and the slope of the way back from the model's scale at them.
    n : ndarray, shape (D,)
        Interviews behind the fit; 0 without a sample.
    deff : ndarray, shape (D,)
        Design effect: `unit` over the variance of a person, p (1 - p) for shares; NaN for other figures.
    unit : ndarray, shape (D,)
        Sampling variance of a direct estimate from one interview, reported scale, squared units.
    share : bool
        Whether the figures are shares.
    y, vardir : ndarray, shape (D,)
        Direct estimates and their variances on the model's scale; NaN without a sample.
    X : ndarray, shape (p, D)
        Design on the model's scale, transposed.
    variance, weights : ndarray, shape (K,)
        Posterior of the model variance A on nodes, on the model's scale.
    prior, scale : str
        The prior behind it, and the model's scale.
    now : DataFrame
        n, n_eff, direct_cv, cv, publishable and flag as the fit has them.
    notes : tuple of str
        What was taken where the fit is silent.
    """

    domain: np.ndarray
    estimate: np.ndarray
    slope: np.ndarray
    n: np.ndarray
    deff: np.ndarray
    unit: np.ndarray
    share: bool
    y: np.ndarray
    vardir: np.ndarray
    X: np.ndarray
    variance: np.ndarray
    weights: np.ndarray
    prior: str
    scale: str
    now: pd.DataFrame
    notes: tuple[str, ...]

    @classmethod
    def of(cls, fit: Result) -> FittedModel:
        """Read a fit of `FayHerriot` or `NestedError`.

        With likelihood fits the posterior of σu is integrated anew from the fit's direct estimates, with a
        flat prior of σu² (of σu where that is improper); Bayesian fits bring theirs.

        Raises
        ------
        SaeSpecError
            If the model is of another kind, has structured effects, or several fits.
        SaeInputError
            If the sizes of the samples are not known; the areas are named.
        """
        _check(fit)
        frame = fit.estimates.frame
        names = frame["domain"].to_numpy(dtype=object)
        n = _interviews(frame, names, fit.data.sampled)
        y, vardir, X, notes = _observations(fit, n)
        transform = TRANSFORMS[fit.data.scale]
        estimate = frame["estimate"].to_numpy(dtype=float)
        slope = _slope(transform, estimate)
        share = fit.source.bounds == (0.0, 1.0) or bool((frame["unit"] == "share").any())
        unit, deff, note = _unit(vardir * n * slope**2, estimate, share)
        notes += note
        variance, weights, prior, note = _posterior(fit, y, vardir, X)
        notes += note
        return cls(
            names,
            estimate,
            slope,
            n,
            deff,
            unit,
            share,
            y,
            vardir,
            X,
            variance,
            weights,
            prior,
            transform.name,
            frame[_NOW].reset_index(drop=True),
            tuple(notes),
        )

    def planned(self, rows: np.ndarray, unit: np.ndarray) -> PlannedModel:
        """Return the model of some of the areas, with unit variances of the reported scale: for means."""
        return PlannedModel(self.variance, self.weights, self.X[:, rows], unit / self.slope[rows] ** 2)

    def equally_likely(self, rows: np.ndarray, unit: np.ndarray, assurance: float | None) -> PlannedModel:
        """Return the same model with A on nodes of equal weight, its quantiles: for probabilities."""
        variance = self.quantiles((np.arange(_EVEN) + 0.5) / _EVEN)
        weights = np.full(_EVEN, 1.0 / _EVEN)
        return PlannedModel(variance, weights, self.X[:, rows], unit / self.slope[rows] ** 2, assurance)

    def quantiles(self, probabilities: np.ndarray | list[float]) -> np.ndarray:
        """Return posterior quantiles of A: the distribution function is linear in √A between the nodes."""
        sd, below = self._distribution
        return np.asarray(np.interp(probabilities, below, sd) ** 2)

    @cached_property
    def _distribution(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes of √A in order, and the probability below each."""
        order = np.argsort(self.variance)
        weight = self.weights[order]
        return np.sqrt(self.variance[order]), np.cumsum(weight) - 0.5 * weight


def _check(fit: Result) -> None:
    kind = getattr(fit.spec, "kind", "")
    if kind not in _KINDS:
        raise SaeSpecError(
            f"A plan cannot be made from a fit of {type(fit.spec).__name__}.",
            hint="Fit sae.FayHerriot or sae.NestedError.",
        )
    structured = [name for name in _STRUCTURE if getattr(fit.spec, name, None) is not None]
    if structured:
        raise SaeSpecError(
            f"A plan cannot be made from a fit with {name_some(structured)} effects.",
            hint="Fit the same model without them; what neighbours add then comes as a bonus.",
        )
    if len(fit.diagnostics) > 1:
        raise SaeSpecError(
            f"The result holds {len(fit.diagnostics)} fits; a plan is made from one.",
            hint="Fit the one period or group that the plan is for.",
        )


def _observations(fit: Result, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return direct estimates, their variances, the design (p, D) and notes, on the model's scale."""
    data = fit.data
    if fit.spec.kind != _NESTED:
        return data.outcome, data.vardir, np.ascontiguousarray(data.X.T), []
    # a unit-level model seen from its areas: their means, and one level
    y = np.full(len(n), np.nan)
    y[fit.residuals.index.to_numpy()] = (fit.residuals["fitted"] + fit.residuals["residual"]).to_numpy(float)
    with np.errstate(divide="ignore"):
        vardir = np.where(data.sampled, _component(fit, "sigma2_e") / n, np.nan)
    note = f"The coefficients of {name_some(data.columns)} but for the level count as known from the units."
    return y, vardir, np.ones((1, len(n))), [note]


def _component(fit: Result, name: str) -> float:
    return float(np.asarray(fit.variance_components[name], dtype=float))


def _interviews(frame: pd.DataFrame, names: np.ndarray, sampled: np.ndarray) -> np.ndarray:
    n = to_numbers(frame, "n")
    n = np.where(np.isfinite(n), n, frame["n_eff"].to_numpy(dtype=float))
    unknown = sampled & ~(n > 0)
    if unknown.any():
        raise SaeInputError(
            f"The sample size of {int(unknown.sum())} of {int(sampled.sum())} areas with a direct estimate "
            f"is not known: {name_some(names[unknown])}.",
            hint="Fit the model to data with a column n (or n_eff): sampling variances are scaled by it.",
            areas=names[unknown],
            column="n",
        )
    return np.where(sampled, n, 0.0)


def _slope(transform: Transform, estimate: np.ndarray) -> np.ndarray:
    if transform.name == "identity":
        return np.ones_like(estimate)
    low, high = transform.range
    inside = np.clip(
        estimate, low + 1e-6 if np.isfinite(low) else low, high - 1e-6 if np.isfinite(high) else high
    )
    return np.asarray(transform.slope(transform.forward(inside), np.zeros_like(inside)))


def _unit(unit: np.ndarray, estimate: np.ndarray, share: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Fill in areas without a sample: the median design effect of a share, else the median unit variance."""
    known = np.isfinite(unit) & (unit > 0)
    deff = np.full(len(unit), np.nan)
    if share:
        person = np.clip(estimate * (1.0 - estimate), 1e-6, None)
        deff = np.where(known, unit / person, np.nan)
        deff = np.where(known, deff, np.nanmedian(deff))
        filled = deff * person
        what = f"the median design effect {np.nanmedian(deff):.3g}"
    else:
        filled = np.where(known, unit, np.median(unit[known]))
        what = "the median variance of an interview"
    note = [f"{int((~known).sum())} areas without a sample take {what}."] if (~known).any() else []
    return filled, deff, note


def _posterior(
    fit: Result, y: np.ndarray, vardir: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str, list[str]]:
    if isinstance(fit.posterior, VarianceNodes):
        variance, weights = fit.posterior.variance_nodes()
        return variance, weights, str(fit.estimates.frame["prior"].iloc[0]), []
    sampled = np.isfinite(y)
    notes = []
    if fit.spec.kind == _NESTED:
        notes.append("The posterior of σu rests on the means of the areas, σe being known as estimated.")
        y = y.copy()
        y[fit.residuals.index.to_numpy()] = fit.residuals["residual"].to_numpy(dtype=float)
    areas = Areas.of(y[sampled], vardir[sampled], X[:, sampled])
    for code, prior in ((FLAT_VARIANCE, "flat-variance"), (FLAT_SD, "flat-sd")):
        try:
            nodes = place_nodes(areas, [(code, 1.0)])
        except ValueError:
            continue
        return nodes.sd**2, nodes.weights, prior, notes
    raise SaeInputError(
        f"{int(sampled.sum())} areas with a sample tell nothing about the model variance beside {len(X)} "
        "coefficients.",
        hint='Fit with method="bayes" and a proper prior.',
    )
