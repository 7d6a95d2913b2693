"""Whether the fitted distribution of welfare is that of the units: a figure of all of them, twice.

A figure of the sample's own units as the fit foretells it is compared with the figure of their welfare. Units
count with their survey weights where there are any, and for their persons where the sample has the column of
`population_weights`. The difference is a mean of residuals r = k(y) - E k(y); what estimation takes away from
its variance is found as in a conditional moment test, by the regression of the residuals on the scores of
coefficients, σe², sizes and transformation. Units count as independent given the area effects, or clusters
that the model has: with others the standard error is too small.

References
----------
Newey (1985), Econometrica 53, 1047–1070 (conditional moment tests); Deville (1999), Survey Methodology 25,
193–203 (linearised Gini).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from sae.errors import SaeWarning, name_some
from sae.numerics.ebp.closed_form import weighted
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.transforms import ESTIMATED, Scale
from sae.results import Message
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.ebp.scale import EbpFit

__all__ = [
    "CHANCE",
    "Comparison",
    "compare_units",
    "comparison_messages",
    "outcome_nodes",
    "unit_figures",
    "unit_scores",
    "unit_weights",
]

CHANCE = 0.01  # of a difference that is told, were the model true
_ROUNDING = 1e-9
_NODES = 20  # of a normal, for the Gini of the fit
_STEP = 1e-4  # of λ, or share of the median for a shift
_PERCENT = ("head_count", "gap", "severity")


@dataclass(frozen=True)
class Comparison:
    """One figure of all units of the sample.

    Attributes
    ----------
    indicator : str
    model, units : float
        As the fit foretells it, and as the units have it.
    se, units_se : float
        Standard errors of the difference, and of the figure of the units.
    """

    indicator: str
    model: float
    units: float
    se: float
    units_se: float

    @property
    def record(self) -> dict[str, float]:
        """The figures by name."""
        return {"fit": self.model, "units": self.units, "se": self.se, "units_se": self.units_se}

    @property
    def apart(self) -> bool:
        """Whether the figures differ by more than chance, and more than the units' own standard error."""
        rounding = _ROUNDING * max(abs(self.model), abs(self.units))  # where nobody or everybody is poor
        limit = max(float(ndtri(1.0 - 0.5 * CHANCE)) * self.se, self.units_se, rounding)
        return abs(self.model - self.units) > limit

    @property
    def text(self) -> str:
        """The figures in words."""
        values = self.model, self.units, self.units_se
        if self.indicator in _PERCENT:
            model, units, se = (f"{100.0 * value:.1f}" for value in values)
            return f"{self.indicator}: fit {model} %, units {units} % ± {se}"
        model, units, se = (f"{value:.4g}" for value in values)
        return f"{self.indicator}: fit {model}, units {units} ± {se}"


def compare_units(arrays: EbpArrays, fit: EbpFit, indicators: Indicators) -> list[Comparison]:
    """Compare means, head counts, gaps, severities and the Gini.

    Parameters
    ----------
    arrays : EbpArrays
    fit : EbpFit
    indicators : Indicators
        Others of them are passed over.
    """
    a = unit_weights(arrays)
    a = a / a.sum()
    whose = None if arrays.clusters is None else arrays.clusters.units.area
    scores = _scores(arrays, fit) if whose is None else _cluster_scores(arrays, fit, whose)
    out = []
    for name, (values, expected) in unit_figures(arrays, fit, indicators).items():
        parts = float(a @ expected), float(a @ values)
        out.append(Comparison(name, *parts, *_errors(a, values, expected, scores, whose)))
    if "gini" in indicators.names:
        out.append(_gini(arrays, fit, a, scores, whose))
    return out


def unit_weights(arrays: EbpArrays) -> np.ndarray:
    """Return what each unit of the sample counts for: its survey weight times its persons, (n,)."""
    a = np.ones(len(arrays.y)) if arrays.weights is None else arrays.weights
    return a if arrays.persons is None else a * arrays.persons


def unit_figures(
    arrays: EbpArrays, fit: EbpFit, indicators: Indicators
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return what each unit adds to additive figures, and what it is foretold to add, (n,) each."""
    names = tuple(name for name in indicators.names if name in ADDITIVE)
    if not names:
        return {}
    sample = replace(arrays.sampled_population, weight=None)
    expected = weighted(sample, fit.parameters, names, indicators.threshold)
    return {
        name: (unit_scores(name, arrays.y, indicators.threshold), one)
        for name, one in zip(names, expected, strict=True)
    }


def unit_scores(name: str, y: np.ndarray, threshold: float) -> np.ndarray:
    """Return k(y) of an additive figure."""
    if name == "mean":
        return y
    if name == "head_count":
        return (y < threshold) * 1.0
    short = np.maximum(1.0 - y / threshold, 0.0)
    return short if name == "gap" else short**2


def comparison_messages(
    comparisons: list[Comparison], *, errors: str, added: Collection[str]
) -> list[Message]:
    """Name figures that differ by more than chance.

    Parameters
    ----------
    comparisons : list of Comparison
    errors : str
        As the model has them.
    added : collection of str
        Figures whose MSE has the difference.
    """
    apart = [one for one in comparisons if one.apart]
    if not apart:
        return []
    texts = "; ".join(one.text for one in apart)
    held = [one.indicator for one in apart if one.indicator in added]
    error = f", which is in the MSE of {name_some(held)}" if held else ""
    advice = {
        "normal": 'errors="empirical" or "heteroscedastic" does without the normal of one size',
        "empirical": 'errors="heteroscedastic" lets sizes of errors depend on covariates',
    }.get(errors, "Covariates, or another transform, may do")
    return [
        Message(
            f"The fit does not give back the units it was fitted to: {texts}. Areas are off by "
            f"about as much{error}. {advice}; benchmark to the direct figure of all areas otherwise.",
            SaeWarning,
        )
    ]


def _scores(arrays: EbpArrays, fit: EbpFit) -> np.ndarray:
    """Return the derivatives of each unit's log-likelihood given its area effect, a column a parameter."""
    at, y, units = fit.parameters, arrays.y, arrays.units
    centre = units.X @ at.coefficients + at.effect[units.area]
    size = at.errors.sizes(units.X)
    sigma = np.sqrt(at.sigma2_e) * (size if len(size) else np.ones(len(y)))
    e = (fit.scale.forward(y) - centre) / sigma
    columns = [units.X * (e / sigma)[:, None], (e**2 - 1.0)[:, None]]
    if len(size):  # and of α
        columns.append(units.X * (e**2 - 1.0)[:, None])
    if fit.scale.name in ESTIMATED:
        columns.append(
            _slope(fit.scale, y, lambda scale: -0.5 * ((scale.forward(y) - centre) / sigma) ** 2)[:, None]
        )
    scores = np.concatenate(columns, axis=1)
    return np.where(np.isfinite(scores), scores, 0.0)


def _slope(scale: Scale, y: np.ndarray, of: Callable[[Scale], np.ndarray]) -> np.ndarray:
    """Return the derivative of what a scale gives and of its Jacobian by the parameter, (n,)."""
    step = _STEP * (float(np.median(y - scale.bottom)) if scale.name == "log-shift" else 1.0)
    low, high = (replace(scale, parameter=scale.parameter + side) for side in (-step, step))
    return np.asarray((high.log_slope(y) + of(high) - low.log_slope(y) - of(low)) / (2.0 * step))


def _cluster_scores(arrays: EbpArrays, fit: EbpFit, whose: np.ndarray) -> np.ndarray:
    """Return the derivatives of each cluster's log-likelihood given its area effect, a column a parameter."""
    at, y, X = fit.parameters, arrays.y, arrays.units.X
    centre, v, e = X @ at.coefficients + at.effect[arrays.units.area], at.sigma2_v, at.sigma2_e
    size = at.errors.sizes(X)
    w = size**-2.0 if len(size) else np.ones(len(y))
    n = np.bincount(whose, w)
    both = e + n * v

    def solved(scale: Scale) -> tuple[np.ndarray, np.ndarray]:
        r = scale.forward(y) - centre
        return r, w * (r - (v * np.bincount(whose, w * r) / both)[whose]) / e

    _, left = solved(fit.scale)
    total = np.bincount(whose, left)
    square = 0.5 * (e * left**2 / w - 1.0 + v * w / both[whose])  # of log σe²
    units = np.concatenate([X * left[:, None], square[:, None]], axis=1)
    if len(size):
        units = np.concatenate([units, X * square[:, None]], axis=1)
    if fit.scale.name in ESTIMATED:
        along = _slope(fit.scale, y, lambda scale: -0.5 * np.multiply(*solved(scale)))
        units = np.concatenate([units, along[:, None]], axis=1)
    units = np.where(np.isfinite(units), units, 0.0)
    scores = np.zeros((len(n), units.shape[1]))
    np.add.at(scores, whose, units)
    return np.concatenate([scores, 0.5 * (total**2 - n / both)[:, None]], axis=1)


def _errors(
    a: np.ndarray, values: np.ndarray, expected: np.ndarray, scores: np.ndarray, whose: np.ndarray | None
) -> tuple[float, float]:
    """Return standard errors: of Σ a r less what the scores explain of it, and of Σ a k(y).

    `whose` says which units are alike, and the scores are then theirs.
    """
    moment, own = a * (values - expected), a * (values - a @ values)
    if whose is not None:
        moment, own = np.bincount(whose, moment), np.bincount(whose, own)
    n = len(own)
    left = moment - scores @ np.linalg.lstsq(scores, moment, rcond=None)[0]
    return float(np.sqrt(left @ left * n / (n - 1.0))), float(np.sqrt(own @ own * n / (n - 1.0)))


def _gini(
    arrays: EbpArrays, fit: EbpFit, a: np.ndarray, scores: np.ndarray, whose: np.ndarray | None
) -> Comparison:
    """Compare the Gini of the units with that of the mixture of what each of them is foretold to have."""
    y = arrays.y
    values, mass = outcome_nodes(arrays, fit, slice(None))
    model = _Curve(values.ravel(), (a[:, None] * mass).ravel())
    units = _Curve(y, a)
    own, expected = units.influence(y), units.influence(values) @ mass
    return Comparison("gini", model.gini, units.gini, *_errors(a, own, expected, scores, whose))


def outcome_nodes(arrays: EbpArrays, fit: EbpFit, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return values that welfare of some units may take, (n, K), and the chance of each, (K,)."""
    at, X, area = fit.parameters, arrays.units.X[part], arrays.units.area[part]
    x, chance = np.polynomial.hermite_e.hermegauss(3 if len(at.errors.points) else _NODES)
    sigma, width, points = np.sqrt(at.sigma2_e), at.errors.width, at.errors.points
    points = points if len(points) else np.zeros(1)
    size = at.errors.sizes(X)
    size = sigma * (size if len(size) else np.ones(len(X)))
    sd = np.sqrt(at.spread[area] ** 2 + at.sigma2_v + (width * size) ** 2)
    centre = X @ at.coefficients + at.effect[area]
    around = size[:, None, None] * points[:, None] + sd[:, None, None] * x
    values = fit.scale.inverse(centre[:, None] + around.reshape(len(X), -1))
    return values, np.tile(chance / chance.sum() / len(points), len(points))


class _Curve:
    """Distribution of weighted values, for a Gini and its linearised variable."""

    def __init__(self, y: np.ndarray, w: np.ndarray) -> None:
        order = np.argsort(y, kind="stable")
        self.y, w = y[order], w[order] / w.sum()
        self.below, self.part = np.cumsum(w), np.cumsum(w * self.y)
        self.mean = float(self.part[-1])
        self.gini = float((self.y * w) @ (2.0 * self.below - w)) / self.mean - 1.0

    def influence(self, y: np.ndarray) -> np.ndarray:
        """Return the linearised variable at welfare y, up to a constant."""
        place = np.searchsorted(self.y, y, side="right")
        below = np.concatenate([[0.0], self.below])[place]
        part = np.concatenate([[0.0], self.part])[place]
        return (2.0 * (y * below - part) - (1.0 + self.gini) * y) / self.mean
