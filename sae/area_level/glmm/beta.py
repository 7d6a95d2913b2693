"""Shares of areas with known precision: the beta model with area effects on the logit scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sae.area_level.glmm.base import AreaEffects, Observed, refuse_values
from sae.area_level.rows import AreaRows
from sae.numerics.glmm.likelihoods import Beta
from sae.numerics.inference.transforms import TRANSFORMS

__all__ = ["BetaFayHerriot"]


@dataclass(frozen=True, repr=False)
class BetaFayHerriot(AreaEffects):
    """Beta model of direct estimates of shares.

    y_d ~ beta(P_d φ_d, (1 - P_d) φ_d), φ_d = n_eff,d - 1, so that the sampling variance is P_d (1 - P_d) /
    n_eff,d; logit P_d = x_d'β + u_d, u_d ~ N(0, σ²). The posterior of P_d, with flat β.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates". The outcome is an indicator of `DirectEstimates`, or a column of a frame:
        shares strictly between 0 and 1.
    domain, n_eff : str
        Columns of a frame: area labels; effective sample sizes, larger than 1.
    prior : Prior or str, optional
        Of σ: as of `FayHerriot`. By default half-normal; a scale left out is the standard deviation of the
        logits.
    per : sequence of str
        Columns whose values get a fit of their own, with the numbers and the draws it has without the others.
    level : float
        Of the intervals.

    References
    ----------
    Liu, Lahiri and Kalton (2014), Survey Methodology 40, 1-13 (model 4); Jiang and Lahiri (2006), TEST 15,
    1-96.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("ABCDEFGH"), "y": [.1, .2, .08, .3, .4, .32, .2, None],
    ...                       "n_eff": [20, 25, 10, 30, 30, 22, 15, None], "x": [0, 1, 0, 2, 3, 2, 1, 2]})
    >>> fit = sae.BetaFayHerriot("y ~ x", domain="area").fit(frame)
    >>> fit.estimates["estimate"].round(1).tolist()[-1]  # H has no direct estimate
    0.3
    """

    kind: ClassVar[str] = "beta_fay_herriot"

    n_eff: str = "n_eff"

    @property
    def _title(self) -> str:
        return "Beta logit"

    @property
    def _columns(self) -> tuple[str, str]:
        return "", self.n_eff

    def _observed(self, rows: AreaRows) -> Observed:
        y, n = rows.direct, rows.n_eff
        with np.errstate(invalid="ignore"):
            outside = rows.sampled & ~((y > 0) & (y < 1))
            few = rows.sampled & ~((n > 1) & np.isfinite(n))
        refuse_values(
            rows,
            outside,
            y,
            "Shares are not strictly between 0 and 1",
            "Shares of 0 or 1 have no beta density: use sae.BinomialMixed with effective sample sizes.",
            "direct",
        )
        refuse_values(rows, few, n, "Effective sample sizes are not above 1", "", self.n_eff)
        sampled = rows.sampled
        likelihood = Beta(y[sampled], n[sampled] - 1.0)
        return Observed(likelihood, y, sampled, TRANSFORMS["logit"], np.zeros(len(likelihood.y), int))
