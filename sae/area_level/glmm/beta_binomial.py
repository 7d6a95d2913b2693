"""Counts whose trials agree within areas: beta-binomial with area effects on the logit scale."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from sae.area_level.glmm.base import Observed
from sae.area_level.glmm.binomial import BinomialMixed
from sae.area_level.rows import AreaRows
from sae.errors import SaeSpecError
from sae.numerics.glmm.likelihoods import BetaBinomial, Binomial
from sae.samplers.beta_binomial import BetaBinomialPosterior

__all__ = ["BetaBinomialMixed"]

_BETA = re.compile(r"beta\(\s*([0-9.]+)\s*,\s*([0-9.]+)\s*\)")


@dataclass(frozen=True, repr=False)
class BetaBinomialMixed(BinomialMixed):
    """Beta-binomial model of area counts with area effects, for proportions.

    y_d ~ beta-binomial(n_d, P_d, ρ), logit P_d = x_d'β + u_d, u_d ~ N(0, σ²): trials of an area are equally
    correlated, ρ, so that var(y_d) = n_d P_d (1 - P_d) (1 + (n_d - 1) ρ). The posterior of P_d, with flat β.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates", as in `BinomialMixed`.
    domain, trials : str
        Columns of a frame, as in `BinomialMixed`. Effective sample sizes carry a design effect already, which
        ρ would count twice: give numbers of persons.
    prior : Prior or str, optional
        Of σ: as of `BinomialMixed`.
    rho_prior : str
        Of ρ: "uniform(0, 1)", or "beta(a, b)".
    per : sequence of str
        Columns whose values get a fit of their own, with the numbers and the draws it has without the others.
    level : float
        Of the intervals.

    Notes
    -----
    With one count per area, ρ and σ are hardly told apart: both make counts of areas vary more than their
    trials, ρ as noise around P_d, σ as differences of P_d itself; only areas of different n_d distinguish
    them. Estimates then lie between those of `BinomialMixed` (ρ = 0) and synthetic ones (σ = 0) as the two
    priors say, and their intervals tell so: look at the intervals of `rho` and `sigma_u`, change the priors,
    and take a `rho_prior` from a survey that knows ρ where there is one.

    ρ is integrated on nodes, equally spaced in the normal score of its posterior; `Result.diagnostics` gives
    in `rho_error` what leaving out every second node changes, in posterior deviations: the nodes themselves
    err by less. A fit whose nodes differ by more than 0.1, or do not reach the ends of the posterior, is
    refused. The fit draws no random numbers.

    References
    ----------
    Williams (1982), Applied Statistics 31, 144-148; Rao and Molina (2015), Small Area Estimation, 2nd ed.,
    section 10.13.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("ABCDEFGH"), "y": [2, 5, 0, 9, 12, 7, 3, 0],
    ...                       "n": [20, 25, 10, 30, 30, 22, 15, 0], "x": [0, 1, 0, 2, 3, 2, 1, 2]})
    >>> fit = sae.BetaBinomialMixed("y ~ x", domain="area").fit(frame)
    >>> fit.estimates["estimate"].round(1).tolist()[-1]  # H has no trials
    0.3
    """

    kind: ClassVar[str] = "beta_binomial_mixed"

    rho_prior: str = "uniform(0, 1)"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._shapes()

    def _shapes(self) -> tuple[float, float]:
        """Return a and b of the beta prior of ρ."""
        if self.rho_prior.replace(" ", "") in ("uniform", "uniform(0,1)"):
            return 1.0, 1.0
        shapes = _BETA.fullmatch(self.rho_prior)
        if not shapes or not min(float(shapes[1]), float(shapes[2])) > 0.0:
            raise SaeSpecError(
                f"rho_prior = {self.rho_prior!r} does not exist.",
                hint='It takes "uniform(0, 1)" or "beta(2, 20)", with positive numbers.',
            )
        return float(shapes[1]), float(shapes[2])

    @property
    def _title(self) -> str:
        return "Beta-binomial logit"

    @property
    def _posterior(self) -> Callable[..., BetaBinomialPosterior]:
        return partial(BetaBinomialPosterior, rho_prior=self._shapes())

    def _observed(self, rows: AreaRows) -> Observed:
        observed = super()._observed(rows)
        assert isinstance(observed.likelihood, Binomial)
        counts = BetaBinomial(observed.likelihood.y, observed.likelihood.n, 0.5)
        return observed._replace(likelihood=counts, more=(f"ρ {self.rho_prior}",))
