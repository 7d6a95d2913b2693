"""Direct shares that may be exactly 0 or 1: beta between, with effects of areas, neighbours and periods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from sae.area_level.effects.options import AR1, BYM2, CAR, RW1
from sae.area_level.glmm.inflated_beta_nuts import fit_inflated, read_shares
from sae.area_level.scale_mixtures.gibbs import chain_seed
from sae.errors import SaeSpecError
from sae.results import Result
from sae.specs import Specification
from sae.specs.priors import Prior, prior_of

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["InflatedBetaFayHerriot"]


@dataclass(frozen=True, repr=False)
class InflatedBetaFayHerriot(Specification):
    """Zero/one-inflated beta model of direct shares: logit θ = x'β + effects; Bayes by NUTS.

    Given θ and the effective sample size n, the direct share y is 0 with probability (1 - θ)^n and 1 with
    θ^n, as a share of n persons is; in between it is beta with the mean and the variance that leave E y = θ
    and var y = θ (1 - θ) / n.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates", as in `FayHerriot`.
    domain, n_eff : str
        Columns of a plain frame: area labels and effective sample sizes, more than 2.
    spatial : BYM2 or CAR(rho=1), optional
        Area effects over a map; independent by default.
    temporal : AR1 or RW1, optional
        Area-by-time effects, beside the area effect.
    prior : Prior or str, optional
        Of every standard deviation: see `sae.priors`; half-normal in the unit of the observed logits by
        default; a proper one. Coefficients of standardised covariates are normal(0, 10); ρ is uniform.
    level : float
    draws : int
        Kept draws of four chains together.

    References
    ----------
    Ospina and Ferrari (2010), Statistical Papers 51, 111-126; Fabrizi, Ferrante and Trivisano (2016), in
    Analysis of Poverty Data by Small Area Estimation, 299-314; Janicki (2020), J. Off. Stat. 36, 265-283.

    Examples
    --------
    >>> InflatedBetaFayHerriot("poor ~ x", temporal=sae.AR1("year")).to_dict()["temporal"]
    'ar1: year'
    """

    kind: ClassVar[str] = "inflated_beta_fay_herriot"

    formula: str
    domain: str = "domain"
    n_eff: str = "n_eff"
    spatial: BYM2 | CAR | str | None = None
    temporal: AR1 | RW1 | str | None = None
    prior: Prior | str | None = None
    level: float = 0.95
    draws: int = 4000

    def __post_init__(self) -> None:
        if isinstance(self.spatial, str):
            reader: Any = {"bym2": BYM2, "car": CAR}.get(self.spatial.partition(":")[0].strip().lower(), BYM2)
            object.__setattr__(self, "spatial", reader.of_text(self.spatial))
        if isinstance(self.temporal, str):
            own = RW1 if self.temporal.strip().lower().startswith("rw1") else AR1
            object.__setattr__(self, "temporal", own.of_text(self.temporal))
        if self.spatial is not None and getattr(self.spatial, "structure", "") not in ("bym2", "icar"):
            raise SaeSpecError(
                f"spatial = {self.spatial!r} does not exist here.", hint="It takes BYM2 or CAR(rho=1)."
            )
        if self.temporal is not None and not isinstance(self.temporal, AR1 | RW1):
            raise SaeSpecError(
                f"temporal = {self.temporal!r} does not exist here.", hint="It takes AR1 or RW1."
            )
        if prior_of(self.prior).spare:
            raise SaeSpecError(
                f"prior = {prior_of(self.prior).text!r} is improper; this model needs a proper one.",
                hint='Use prior="half-normal".',
            )
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.draws < 400:
            raise SaeSpecError(f"draws = {self.draws}: at least 400 are needed to judge the chains.")

    def _words(self) -> str:
        effects = ", ".join(type(part).__name__ for part in (self.spatial, self.temporal) if part is not None)
        return f"{self.formula}, zero/one-inflated beta, {effects or 'independent'} effects, NUTS"

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
            If a share lies outside [0, 1], has no effective sample size above 2 or no covariates, or map and
            areas do not match; areas are named.
        SaeConvergenceError
            If the chains do not agree.
        """
        number = chain_seed(seed)
        return fit_inflated(self, read_shares(self, data, areas), number)
