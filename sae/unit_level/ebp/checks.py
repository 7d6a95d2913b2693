"""Whether the fitted distribution of welfare is that of the units: a figure of all of them, twice.

A figure of the sample's own units as the fit foretells it is compared with the figure of their welfare, with
survey weights where there are any. The difference is a mean of residuals r = k(y) - E k(y); what estimation
takes away from its variance is found as in a conditional moment test, by the regression of the residuals on
the scores of coefficients, σe² and transformation. Units count as independent given the area effects: with
clusters the standard error is too small.

References
----------
Newey (1985), Econometrica 53, 1047–1070 (conditional moment tests); Deville (1999), Survey Methodology 25,
193–203 (linearised Gini).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from sae.errors import SaeWarning
from sae.numerics.ebp.closed_form import weighted
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.transforms import ESTIMATED, Scale
from sae.results import Message
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.ebp.scale import EbpFit

__all__ = ["Comparison", "compare_units", "comparison_messages"]

_CHANCE = 0.01  # of a difference that is told, were the model true
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
        limit = max(float(ndtri(1.0 - 0.5 * _CHANCE)) * self.se, self.units_se)
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
    y, sample, at = arrays.y, replace(arrays.sampled_population, weight=None), fit.parameters
    a = np.ones(len(y)) if arrays.weights is None else arrays.weights
    a = a / a.sum()
    scores = _scores(arrays, fit)
    out = []
    names = tuple(name for name in indicators.names if name in ADDITIVE)
    short = np.maximum(1.0 - y / indicators.threshold, 0.0)
    values = {"mean": y, "head_count": (y < indicators.threshold) * 1.0, "gap": short, "severity": short**2}
    if names:
        for name, expected in zip(names, weighted(sample, at, names, indicators.threshold), strict=True):
            parts = float(a @ expected), float(a @ values[name])
            out.append(Comparison(name, *parts, *_errors(a, values[name], expected, scores)))
    if "gini" in indicators.names:
        out.append(_gini(arrays, fit, a, scores))
    return out


def comparison_messages(comparisons: list[Comparison], *, errors: str) -> list[Message]:
    """Name figures that differ by more than chance.

    Parameters
    ----------
    comparisons : list of Comparison
    errors : str
        As the model has them.
    """
    apart = [one.text for one in comparisons if one.apart]
    if not apart:
        return []
    advice = {
        "normal": 'errors="empirical" or "heteroscedastic" does without the normal of one size',
        "empirical": 'errors="heteroscedastic" lets sizes of errors depend on covariates',
    }.get(errors, "Covariates, or another transform, may do")
    return [
        Message(
            f"The fit does not give back the units it was fitted to: {'; '.join(apart)}. Areas are off by "
            f"about as much. {advice}; benchmark to the direct figure of all areas otherwise.",
            SaeWarning,
        )
    ]


def _scores(arrays: EbpArrays, fit: EbpFit) -> np.ndarray:
    """Return the derivatives of each unit's log-likelihood given its area effect, (n, p + 1 or p + 2)."""
    at, y, units = fit.parameters, arrays.y, arrays.units
    centre = units.X @ at.coefficients + at.effect[units.area]
    sigma = np.sqrt(at.sigma2_e)
    e = (fit.scale.forward(y) - centre) / sigma
    columns = [units.X * e[:, None], (e**2 - 1.0)[:, None]]
    if fit.scale.name in ESTIMATED:
        step = _STEP * (float(np.median(y - fit.scale.bottom)) if fit.scale.name == "log-shift" else 1.0)
        ends = []
        for parameter in (fit.scale.parameter - step, fit.scale.parameter + step):
            scale = Scale(fit.scale.name, parameter, fit.scale.shift)
            ends.append(scale.log_slope(y) - 0.5 * ((scale.forward(y) - centre) / sigma) ** 2)
        columns.append((ends[1] - ends[0])[:, None] / (2.0 * step))
    scores = np.concatenate(columns, axis=1)
    return np.where(np.isfinite(scores), scores, 0.0)


def _errors(
    a: np.ndarray, values: np.ndarray, expected: np.ndarray, scores: np.ndarray
) -> tuple[float, float]:
    """Return standard errors: of Σ a r less what the scores explain of it, and of Σ a k(y)."""
    moment, n = a * (values - expected), len(a)
    left = moment - scores @ np.linalg.lstsq(scores, moment, rcond=None)[0]
    own = a * (values - a @ values)
    return float(np.sqrt(left @ left * n / (n - 1.0))), float(np.sqrt(own @ own * n / (n - 1.0)))


def _gini(arrays: EbpArrays, fit: EbpFit, a: np.ndarray, scores: np.ndarray) -> Comparison:
    """Compare the Gini of the units with that of the mixture of what each of them is foretold to have."""
    y, at = arrays.y, fit.parameters
    x, chance = np.polynomial.hermite_e.hermegauss(3 if len(at.errors.points) else _NODES)
    sigma, width, points = np.sqrt(at.sigma2_e), at.errors.width, at.errors.points
    points = points if len(points) else np.zeros(1)
    size = at.errors.sizes(arrays.units.X)
    size = sigma * (size if len(size) else np.ones(len(y)))
    sd = np.sqrt(at.spread[arrays.units.area] ** 2 + (width * size) ** 2)
    centre = arrays.units.X @ at.coefficients + at.effect[arrays.units.area]
    around = size[:, None, None] * points[:, None] + sd[:, None, None] * x
    around = around.reshape(len(y), -1)
    values = fit.scale.inverse(centre[:, None] + around)
    mass = np.tile(chance / chance.sum() / len(points), len(points))
    model = _Curve(values.ravel(), (a[:, None] * mass).ravel())
    units = _Curve(y, a)
    own, expected = units.influence(y), units.influence(values) @ mass
    return Comparison("gini", model.gini, units.gini, *_errors(a, own, expected, scores))


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
