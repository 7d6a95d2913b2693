"""What every posterior gives, whatever way it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

__all__ = ["Posterior", "Sample", "VarianceNodes"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Joint draws of everything, row s of each array from the same draw.

    Attributes
    ----------
    values : ndarray, shape (S, M)
        True values of all M rows, sampled or not, on the reported scale.
    parameters : mapping of str to ndarray
        Hyperparameters, shape (S,), and coefficients, shape (S, p), by name.
    log_likelihood : ndarray, shape (S, n)
        Log density of each of the n observed figures given the draw, in the order of the sampled rows.
    replicated : ndarray, shape (S, n)
        Figures that the model would have observed: the posterior predictive.
    fresh : ndarray, shape (S, n)
        The same with area effects drawn anew, where they are drawn together: see `Posterior.fresh`.
    """

    values: np.ndarray
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    log_likelihood: np.ndarray | None = None
    replicated: np.ndarray | None = None
    fresh: np.ndarray | None = None


class Posterior(Protocol):
    """A fitted posterior: moments as exact as the family allows, and joint draws.

    Attributes
    ----------
    source : str
        How it is computed, in words that stand in the table: "exact posterior, 65 nodes of σ", ...
    diagnostics : mapping of str to float
        What shows that it can be trusted: "k_hat", "quadrature_error", "ess", "r_hat", "divergences".
    """

    @property
    def source(self) -> str:
        """How it is computed, in words."""

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """What shows that it can be trusted."""

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the same seed gives the same draws."""

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return the true values alone of the same draws, shape (n, M)."""

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures that areas like the observed ones would have shown, shape (n, observed figures).

        Covariates and sampling are those of the observed areas, hyperparameters are drawn from the posterior,
        and the area effects anew: unlike `Sample.replicated`, they do not go along with what was observed.
        """

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others) and its Pareto k of every observed figure, each of shape (n,).

        k is NaN where the figure is exact to quadrature.
        """


@runtime_checkable
class VarianceNodes(Protocol):
    """A posterior whose one model variance stands on nodes, as a planner of samples takes it."""

    def variance_nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes of the model variance on the model's scale and their weights, each of shape (K,)."""
