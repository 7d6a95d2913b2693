"""Counts of events in areas: Poisson with area effects on the log scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sae.area_level.glmm.base import AreaEffects, Observed, refuse_values
from sae.area_level.rows import AreaRows
from sae.errors import SaeInputError
from sae.numerics.glmm.likelihoods import Poisson
from sae.numerics.inference.transforms import TRANSFORMS

__all__ = ["PoissonMixed"]


@dataclass(frozen=True, repr=False)
class PoissonMixed(AreaEffects):
    """Poisson model of area counts with area effects, for rates.

    y_d ~ Poisson(E_d λ_d), log λ_d = x_d'β + u_d, u_d ~ N(0, σ²). The posterior of the rate λ_d, with flat β.

    Parameters
    ----------
    formula : str
        "counts ~ covariates".
    domain, exposure : str
        Columns: area labels; exposures E_d, such as persons, person-years or expected counts. Counts and
        exposures need not be whole; an area whose exposure is 0 has no sample.
    prior : Prior or str, optional
        Of σ: as of `FayHerriot`. By default half-normal; a scale left out is the standard deviation of the
        log rates.
    per : sequence of str
        Columns whose values get a fit of their own, with the numbers and the draws it has without the others.
    level : float
        Of the intervals.

    References
    ----------
    Clayton and Kaldor (1987), Biometrics 43, 671-681; Boubeta, Lombardía and Morales (2016), TEST 25,
    548-569.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("ABCDEFGH"), "y": [2, 5, 1, 9, 12, 7, 3, None],
    ...                       "N": [20, 25, 10, 30, 30, 22, 15, 20], "x": [0, 1, 0, 2, 3, 2, 1, 2]})
    >>> fit = sae.PoissonMixed("y ~ x", domain="area", exposure="N").fit(frame)
    >>> fit.estimates["estimate"].round(1).tolist()[-1]  # H was not counted
    0.3
    """

    kind: ClassVar[str] = "poisson_mixed"

    exposure: str = "exposure"

    @property
    def _title(self) -> str:
        return "Poisson log"

    @property
    def _columns(self) -> tuple[str, str]:
        return "", self.exposure

    def _observed(self, rows: AreaRows) -> Observed:
        if rows.from_direct:
            raise SaeInputError(
                "PoissonMixed models counts with their exposures; direct estimates have none.",
                hint="Give a DataFrame with a row per area.",
            )
        y, exposure = rows.direct, rows.n_eff
        bad = rows.sampled & ~((exposure >= 0) & np.isfinite(exposure))
        refuse_values(rows, bad, exposure, "The exposure is missing or negative", "", self.exposure)
        sampled = rows.sampled & (exposure > 0)
        refuse_values(
            rows, sampled & (y < 0), y, "Counts are negative", "", self.formula.split("~")[0].strip()
        )
        if not sampled.any():
            raise SaeInputError("No area has any exposure.", column=self.exposure)
        y, exposure = y[sampled], exposure[sampled]
        direct = np.full(len(sampled), np.nan)
        direct[sampled] = y / exposure
        return Observed(Poisson(y, exposure), direct, sampled, TRANSFORMS["log"], np.where(y <= 0.0, -1, 0))
