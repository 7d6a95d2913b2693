"""Fay–Herriot with a horseshoe prior on the coefficients: many covariates, of which few may matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from sae.area_level.scale_mixtures.gibbs import fit_scale_mixture, read_arrays
from sae.errors import SaeSpecError
from sae.results import AreaModel, Result, RunRecord, posterior_result
from sae.samplers.chains import check_draws
from sae.specs.priors import Prior, prior_of

__all__ = ["HorseshoeFayHerriot"]

_TITLE = "Fay–Herriot, horseshoe coefficients (Bayes)"


@dataclass(frozen=True, repr=False)
class HorseshoeFayHerriot(AreaModel[Result]):
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
    >>> fit = sae.HorseshoeFayHerriot("y ~ x0 + x1 + x2 + x3 + x4 + x5").fit(frame, seed=1)
    >>> bool(fit.coefficients.loc["x0", "low"] > 1.5), bool(fit.coefficients.loc["x3", "sd"] < 0.1)
    (True, True)
    """

    kind: ClassVar[str] = "horseshoe_fay_herriot"

    vardir: str = "vardir"
    scale: float | None = None
    prior: Prior | str | None = None
    draws: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        prior_of(self.prior)
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0.0):
            raise SaeSpecError(f"scale = {self.scale}: the scale of a prior is positive.")
        check_draws(self.draws)

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{_TITLE}: {self.formula}"

    def _description(self) -> str:
        return f"{self.formula}, coefficients shrunk by a horseshoe, Gibbs sampler"

    @property
    def _random_step(self) -> str:
        return "The posterior comes from a sampler"

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        assert seed is not None
        arrays = read_arrays(data, areas, self.formula, domain=self.domain, vardir=self.vardir)
        posterior = fit_scale_mixture(
            arrays,
            prior=self.prior,
            level=self.level,
            draws=self.draws,
            seed=seed,
            horseshoe=True,
            scale=self.scale,
        )
        record = RunRecord(_TITLE, "posterior mean", arrays.run_id(self, seed), seed)
        return posterior_result(self, arrays.rows, arrays.data, posterior, record)
