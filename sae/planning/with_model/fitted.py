"""What a planner takes from a fitted model: variances, design effects, and all that is known of σu."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.allocation.levels import Levels, normal_levels, share_levels
from sae.numerics.allocation.with_model import PlannedModel
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE
from sae.numerics.inference.transforms import TRANSFORMS
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
        Estimates on the reported scale; root of the mean square, over the posterior of each true value, of
        the slope of the way back from the model's scale: squared errors are multiplied by its square.
    n : ndarray, shape (D,)
        Interviews behind the fit; 0 without a sample.
    person : ndarray, shape (D,)
        Variance of a person: p (1 - p) of a share at the estimate, with a transformation the posterior mean
        of p (1 - p), since a few interviews tell neither p nor it. Of other figures `unit`.
    deff : ndarray, shape (D,)
        Design effect: `unit` over `person` for shares; NaN for other figures.
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
    levels : Levels or None
        Posterior of the true values where the model has a scale of its own.
    """

    domain: np.ndarray
    estimate: np.ndarray
    slope: np.ndarray
    n: np.ndarray
    person: np.ndarray
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
    levels: Levels | None

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
        share = fit.source.bounds == (0.0, 1.0) or bool((frame["unit"] == "share").any())
        variance, weights, prior, note = _posterior(fit, y, vardir, X)
        slope, person, levels = np.ones_like(estimate), estimate * (1.0 - estimate), None
        if transform.name != "identity":
            of = share_levels if transform.name == "arcsin" else normal_levels
            levels = of(y, vardir, X, variance, weights)
            slope = np.sqrt(levels.mean(transform.slope(levels.grid, np.zeros_like(levels.grid)) ** 2))
            if transform.range == (0.0, 1.0):
                p = transform.inverse(levels.grid)
                person = levels.mean(p * (1.0 - p))
        notes += note
        unit, person, deff, note = _unit(vardir * n * slope**2, person, share)
        notes += note
        return cls(
            names,
            estimate,
            slope,
            n,
            person,
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
            levels,
        )

    def planned(self, rows: np.ndarray, unit: np.ndarray, members: np.ndarray) -> PlannedModel:
        """Return the model of some of the areas, with unit variances of the reported scale: for means."""
        unit = unit / self.slope[rows] ** 2
        return PlannedModel(self.variance, self.weights, self.X[:, rows], unit, fixed=unit / members)

    def equally_likely(
        self, rows: np.ndarray, unit: np.ndarray, members: np.ndarray, assurance: float | None
    ) -> PlannedModel:
        """Return the same model with A on nodes of equal weight, its quantiles: for probabilities."""
        variance = self.quantiles((np.arange(_EVEN) + 0.5) / _EVEN)
        weights, planned = np.full(_EVEN, 1.0 / _EVEN), self.planned(rows, unit, members)
        return replace(planned, variance=variance, weights=weights, assurance=assurance)

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
            hint="Of a mean fit sae.NestedError to the units; of a head count or another figure fit "
            "sae.FayHerriot to direct estimates, which sae.direct makes.",
        )
    structured = [name for name in _STRUCTURE if getattr(fit.spec, name, None) is not None]
    if structured:
        raise SaeSpecError(
            f"A plan cannot be made from a fit with {name_some(structured)} effects.",
            hint="Fit the same model without them; what neighbours add then comes as a bonus.",
        )
    source = getattr(fit.spec, "source", "")
    if source:
        raise SaeSpecError(
            f"A plan cannot be made from a fit of several sources (source={source!r}).",
            hint="Fit the survey that is to be planned alone.",
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
        vardir = np.where(data.sampled, _mean_error(fit, n), np.nan)
    note = f"The coefficients of {name_some(data.columns)} but for the level count as known from the units."
    return y, vardir, np.ones((1, len(n))), [note]


def _mean_error(fit: Result, n: np.ndarray) -> np.ndarray:
    """Return the variance of the mean of an area's errors: σe²/n, or what scales or weights make of it."""
    data, n_eff = fit.data, to_numbers(fit.estimates.frame, "n_eff")
    if np.isfinite(data.vardir).any():
        return 1.0 / np.bincount(data.row, 1.0 / data.vardir, len(n))
    return _component(fit, "sigma2_e") / np.where(np.isfinite(n_eff), n_eff, n)


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


def _unit(
    unit: np.ndarray, person: np.ndarray, share: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Fill in areas without a sample: the median design effect of a share, else the median unit variance."""
    known = np.isfinite(unit) & (unit > 0)
    deff = np.full(len(unit), np.nan)
    if share:
        person = np.clip(person, 1e-6, None)
        deff = np.where(known, unit / person, np.nan)
        deff = np.where(known, deff, np.nanmedian(deff))
        filled = deff * person
        what = f"the median design effect {np.nanmedian(deff):.3g}"
    else:
        filled = person = np.where(known, unit, np.median(unit[known]))
        what = "the median variance of an interview"
    note = [f"{int((~known).sum())} areas without a sample take {what}."] if (~known).any() else []
    return filled, person, deff, note


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
