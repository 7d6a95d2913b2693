"""Fay–Herriot with a horseshoe prior on the coefficients: many covariates, of which few may matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from sae.area_level.scale_mixtures.gibbs import chain_seed, fit_scale_mixture
from sae.errors import SaeSpecError
from sae.results import Result
from sae.specs import Specification
from sae.specs.priors import Prior, prior_of

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["HorseshoeFayHerriot"]


@dataclass(frozen=True, repr=False)
class HorseshoeFayHerriot(Specification):
    """Bayesian Fay–Herriot model with β_j ~ N(0, τ² κ_j²), half-Cauchy κ_j and τ, on standardised covariates.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates"; the intercept is not shrunk.
    domain, vardir : str
        Columns of a plain frame: area labels and sampling variances.
    scale : float, optional
        Of the half-Cauchy prior of τ, in units of the outcome; by default its standard deviation.
    prior : Prior or str, optional
        Of the standard deviation of the effects: see `sae.priors`; half-normal in the data's unit by default.
    level : float
    draws : int
        Kept draws of four Gibbs chains together.

    References
    ----------
    Carvalho, Polson and Scott (2010), Biometrika 97, 465-480; Makalic and Schmidt (2016), IEEE Signal
    Process. Lett. 23, 179-182.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> frame = pd.DataFrame(rng.normal(size=(40, 6)), columns=[f"x{j}" for j in range(6)])
    >>> frame = frame.assign(domain=[f"A{k}" for k in range(40)], vardir=0.1, y=2 * frame["x0"])
    >>> frame["y"] += 0.5 * rng.normal(size=40)
    >>> fit = HorseshoeFayHerriot("y ~ x0 + x1 + x2 + x3 + x4 + x5").fit(frame, seed=1)
    >>> bool(fit.coefficients.loc["x0", "low"] > 1.5), bool(fit.coefficients.loc["x3", "sd"] < 0.1)
    (True, True)
    """

    kind: ClassVar[str] = "horseshoe_fay_herriot"

    formula: str
    domain: str = "domain"
    vardir: str = "vardir"
    scale: float | None = None
    prior: Prior | str | None = None
    level: float = 0.95
    draws: int = 4000

    def __post_init__(self) -> None:
        prior_of(self.prior)
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0.0):
            raise SaeSpecError(f"scale = {self.scale}: the scale of a prior is positive.")
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.draws < 400:
            raise SaeSpecError(f"draws = {self.draws}: at least 400 are needed to judge the chains.")

    def _words(self) -> str:
        return f"{self.formula}, coefficients shrunk by a horseshoe, Gibbs sampler"

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Result:
        """Sample the posterior and predict every area; parameters as of `FayHerriot.fit`, with a seed.

        Raises
        ------
        SaeInputError
            If an area has an estimate but no positive variance, or lacks covariates; areas are named.
        SaeConvergenceError
            If the chains do not agree.
        """
        return fit_scale_mixture(
            self, data, areas, chain_seed(seed), title="Fay–Herriot, horseshoe coefficients (Bayes)",
            horseshoe=True, scale=self.scale,
        )  # fmt: skip
