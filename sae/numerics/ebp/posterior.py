"""Exact posterior of the nested error model on a transformed scale, its parameter among what is drawn.

The parameter of the transformation stands on nodes. With w = h(y) / J^(1/n), J being the Jacobian, the flat
prior of β and 1/σe² are those of w, which has the unit of money whatever the parameter is (Box and Cox 1964);
so the posterior of the parameter is the integral of the nested error model of w, times a flat prior. A scale
of the prior of σu moves with the standard deviation of h(y). Given the parameter all draws are exact and
independent, and so are draws of both.

References
----------
Box and Cox (1964), JRSS B 26, 211–252; Molina, Nandram and Rao (2014), Ann. Appl. Stat. 8, 852–885.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sae.numerics.ebp.parameter import parameter_nodes
from sae.numerics.ebp.transforms import ESTIMATED, Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE
from sae.numerics.nested_error.loo import leave_area_out
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.posterior import HyperPrior, NestedErrorPosterior, nested_error_posterior
from sae.numerics.nested_error.posterior_draws import draw_nested_error
from sae.numerics.nested_error.profile import area_sums
from sae.numerics.random.streams import generator, normals, stream_keys

__all__ = ["ParameterDraws", "ScalePosterior", "scale_posterior"]

_NODES = 41  # of the parameter, about a third of its posterior deviation apart
_DROP = 20.0  # nats below the top to which they reach
_NOTHING = 1e-12  # weight below which a node is left out


@dataclass(frozen=True, eq=False)
class ParameterDraws:
    """Joint draws of all parameters, row s of each array from the same draw.

    Attributes
    ----------
    scales : tuple of Scale, length K
    node : ndarray of int, shape (S,)
        Which of them each draw has.
    coefficients : ndarray, shape (S, p)
    sigma_u, sigma_e : ndarray, shape (S,)
    effects : ndarray, shape (S, D)
    """

    scales: tuple[Scale, ...]
    node: np.ndarray
    coefficients: np.ndarray
    sigma_u: np.ndarray
    sigma_e: np.ndarray
    effects: np.ndarray

    @property
    def parameter(self) -> np.ndarray:
        """The parameter of the transformation of each draw, shape (S,)."""
        return np.array([scale.parameter for scale in self.scales])[self.node]

    def fresh(self, labels: Sequence[str], seed: int) -> ParameterDraws:
        """Return the same draws with area effects that know nothing of the outcomes."""
        z = normals(stream_keys(seed, "fresh effect", labels), 0, len(self.node))
        return replace(self, effects=self.sigma_u[:, None] * z)


@dataclass(frozen=True, eq=False)
class ScalePosterior:
    """Posterior of the parameter of the transformation on nodes, and of the model at each.

    Attributes
    ----------
    units : SampleUnits
    y : ndarray of float, shape (n,)
        Welfare, in the order of the units.
    scales : tuple of Scale, length K
    weights : ndarray, shape (K,)
        They sum to 1.
    posteriors : tuple of NestedErrorPosterior
        Of h(y) at each node.
    centre : NestedErrorPosterior
        At the parameter at which the prior has its scale.
    """

    units: SampleUnits
    y: np.ndarray
    scales: tuple[Scale, ...]
    weights: np.ndarray
    posteriors: tuple[NestedErrorPosterior, ...]
    centre: NestedErrorPosterior

    @property
    def parameter(self) -> str:
        """The name of the parameter."""
        return "shift" if self.scales[0].name == "log-shift" else "lambda"

    @cached_property
    def error(self) -> float:
        """Largest quadrature error of the nodes that count."""
        return max(one.error for one, w in zip(self.posteriors, self.weights, strict=True) if w > 1e-6)

    def draw(self, labels: Sequence[str], draws: int, seed: int) -> ParameterDraws:
        """Draw all parameters and area effects; more draws leave the first ones as they are.

        Parameters
        ----------
        labels : sequence of str, length D
            Names of the areas: the names of their streams.
        draws, seed : int
        """
        share = np.cumsum(self.weights)
        uniforms = generator(seed, "parameter of the scale").random(draws)
        node = np.minimum(np.searchsorted(share, uniforms * share[-1], side="right"), len(share) - 1)
        D, p = self.units.areas, self.units.X.shape[1]
        nothing = AreaMeans(np.zeros((D, p)), np.full(D, np.inf))
        beta, effects = np.empty((draws, p)), np.empty((draws, D))
        sigma_u, sigma_e = np.empty(draws), np.empty(draws)
        for k in np.unique(node):
            mine = np.flatnonzero(node == k)
            sums = self.units.sums(self.scales[k].forward(self.y)[None])
            own = int(stream_keys(seed, "node of the scale", [k])[0])
            drawn = draw_nested_error(self.posteriors[k], sums, nothing, labels, len(mine), own, effects=True)
            beta[mine], effects[mine] = drawn.coefficients, drawn.effects
            sigma_u[mine], sigma_e[mine] = drawn.sigma_u, drawn.sigma_e
        return ParameterDraws(self.scales, node, beta, sigma_u, sigma_e, effects)

    def leave_area_out(self) -> np.ndarray:
        """Return log p(welfare of the units of area d | the others) of every sampled area, by quadrature.

        With w_k(λ) the weights, 1 / p is their mean of 1 / p(λ).
        """
        units, logs = self.units, []
        for scale, posterior in zip(self.scales, self.posteriors, strict=True):
            sums = area_sums(scale.forward(self.y), units.X, units.area, units.areas)
            slope = np.add.reduceat(scale.log_slope(self.y), units.starts)
            logs.append(leave_area_out(posterior, sums) + slope)
        low = np.min(logs, axis=0)
        return np.asarray(low - np.log(self.weights @ np.exp(low - np.array(logs))))


def scale_posterior(units: SampleUnits, y: np.ndarray, scale: Scale, prior: HyperPrior) -> ScalePosterior:
    """Integrate the model at every node of the parameter, or at the one scale without a parameter.

    Parameters
    ----------
    units : SampleUnits
    y : ndarray of float, shape (n,)
        Welfare, in the order of the units.
    scale : Scale
        With the parameter at which `prior` has its scale.
    prior : HyperPrior
        Of σu on that scale.

    Raises
    ------
    ValueError
        As `nested_error_posterior`.
    """
    z = scale.forward(y)
    centre = nested_error_posterior(units.sums(z[None]), prior)
    if scale.name not in ESTIMATED:
        return ScalePosterior(units, y, (scale,), np.ones(1), (centre,), centre)
    values = parameter_nodes(units, y, scale.name, shift=scale.shift, drop=_DROP, count=_NODES)
    scales = tuple(replace(scale, parameter=float(value)) for value in values)
    posteriors, logs = [], np.empty(len(scales))
    for k, one in enumerate(scales):
        moved = one.forward(y)
        own = prior if prior.ratio else replace(prior, scale=prior.scale * float(np.std(moved) / np.std(z)))
        posteriors.append(nested_error_posterior(units.sums(moved[None]), own))
        logs[k] = _log_integral(posteriors[k], float(one.log_slope(y).mean()))
    weights = np.exp(logs - logs.max())
    weights[[0, -1]] *= 0.5  # trapezoidal rule
    weights /= weights.sum()
    kept = np.flatnonzero(weights > _NOTHING)
    return ScalePosterior(
        units,
        y,
        tuple(scales[k] for k in kept),
        weights[kept] / weights[kept].sum(),
        tuple(posteriors[k] for k in kept),
        centre,
    )


def _log_integral(posterior: NestedErrorPosterior, slope: float) -> float:
    """Return the log of the integral for w = h(y) / J^(1/n), up to a constant of the data and the prior.

    `log_evidence` is that of an outcome in the posterior's own unit, with a prior whose density is 1 at 0.

    Parameters
    ----------
    posterior : NestedErrorPosterior
        Of h(y).
    slope : float
        Logarithm of J^(1/n).
    """
    prior = posterior.prior
    freedom = posterior.profile.units - len(posterior.profile.root)
    powers, constant = freedom, 0.0
    if not prior.ratio:
        if prior.code in (FLAT_SD, FLAT_VARIANCE):
            powers -= 1 if prior.code == FLAT_SD else 2
        else:
            constant = float(np.log(prior.scale / posterior.unit))
    return posterior.log_evidence - powers * (float(np.log(posterior.unit)) - slope) - constant
