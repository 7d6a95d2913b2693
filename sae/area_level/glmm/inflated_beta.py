"""Direct shares that may be exactly 0 or 1: beta between, with effects of areas, neighbours and periods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from sae.area_level.effects.options import read_component
from sae.area_level.effects.spatial import BYM2, CAR
from sae.area_level.effects.temporal import AR1, RW1
from sae.area_level.glmm.inflated_beta_fit import fit_inflated, read_shares
from sae.errors import SaeSpecError
from sae.results import AreaModel, Result, RunRecord, posterior_result, run_id
from sae.samplers.chains import check_draws
from sae.specs.priors import Prior, prior_of
from sae.tables.texts import Texts

__all__ = ["InflatedBetaFayHerriot"]


@dataclass(frozen=True, repr=False)
class InflatedBetaFayHerriot(AreaModel[Result]):
    """Zero/one-inflated beta model of direct shares: logit θ = x'β + effects; Bayes by Monte Carlo.

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
        Kept draws of all chains together.

    References
    ----------
    Ospina and Ferrari (2010), Statistical Papers 51, 111-126; Fabrizi, Ferrante and Trivisano (2016), in
    Analysis of Poverty Data by Small Area Estimation, 299-314; Janicki (2020), J. Off. Stat. 36, 265-283.

    Examples
    --------
    >>> sae.InflatedBetaFayHerriot("poor ~ x", temporal=sae.AR1("year")).to_dict()["temporal"]
    'ar1: year'
    """

    kind: ClassVar[str] = "inflated_beta_fay_herriot"

    n_eff: str = "n_eff"
    spatial: BYM2 | CAR | None = None
    temporal: AR1 | RW1 | None = None
    prior: Prior | str | None = None
    draws: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("spatial", "temporal"):
            object.__setattr__(self, name, read_component(name, getattr(self, name), bayes=True))
        if self.spatial is not None and self.spatial.structure not in ("bym2", "icar"):
            raise SaeSpecError(
                f"spatial = {self.spatial!r} does not exist here.", hint="It takes BYM2 or CAR(rho=1)."
            )
        if self.temporal is not None and not isinstance(self.temporal, AR1 | RW1):
            raise SaeSpecError(
                f"temporal = {self.temporal!r} does not exist here.", hint="It takes AR1 or RW1."
            )
        if isinstance(self.temporal, AR1) and self.temporal.rho is not None:
            raise SaeSpecError(
                f"temporal = {self.temporal!r}: this model estimates rho.",
                hint=f"Write sae.AR1({self.temporal.column!r}), or leave temporal= out.",
            )
        if prior_of(self.prior).spare:
            raise SaeSpecError(
                f"prior = {prior_of(self.prior).text!r} is improper; this model needs a proper one.",
                hint='Use prior="half-normal".',
            )
        check_draws(self.draws)

    @property
    def _effects(self) -> list[str]:
        return [type(part).__name__ for part in (self.spatial, self.temporal) if part is not None]

    @property
    def _title(self) -> str:
        effects = f", {' + '.join(self._effects)}" if self._effects else ""
        return f"Zero/one-inflated beta{effects} (Bayes)"

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{self._title}: {self.formula}"

    def _description(self) -> str:
        effects = ", ".join(self._effects) or "independent"
        return f"{self.formula}, zero/one-inflated beta, {effects} effects, Hamiltonian Monte Carlo"

    @property
    def _random_step(self) -> str:
        return "The posterior comes from a sampler"

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        assert seed is not None
        shares = read_shares(
            data,
            areas,
            self.formula,
            domain=self.domain,
            n_eff=self.n_eff,
            spatial=self.spatial,
            temporal=self.temporal,
        )
        posterior = fit_inflated(shares, prior=self.prior, level=self.level, draws=self.draws, seed=seed)
        rows, panel = shares.rows, shares.panel
        texts: tuple[str | Texts, ...] = (*shares.data.columns, rows.labels)
        run = run_id(self, seed, texts, (rows.direct, rows.n_eff, shares.data.X, panel.root))
        record = RunRecord(self._title, "posterior mean", run, seed)
        return posterior_result(self, rows, shares.data, posterior, record)
