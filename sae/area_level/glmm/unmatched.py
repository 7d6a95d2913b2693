"""Unmatched sampling and linking models: estimates on their own scale, their means modelled on another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sae.area_level.glmm.base import AreaEffects, Observed, refuse_values
from sae.area_level.rows import AreaRows
from sae.errors import SaeSpecError
from sae.literals import Link
from sae.numerics.glmm.likelihoods import Unmatched
from sae.numerics.inference.transforms import TRANSFORMS
from sae.specs import one_of

__all__ = ["UnmatchedFayHerriot"]


@dataclass(frozen=True, repr=False)
class UnmatchedFayHerriot(AreaEffects):
    """Unmatched sampling and linking models, after You and Rao.

    y_d ~ N(θ_d, D_d) with D_d known, h(θ_d) = x_d'β + u_d, u_d ~ N(0, σ²): the direct estimate is unbiased on
    its own scale and may be 0 or below; θ_d stays in the range of h. The posterior of θ_d.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates", as in `FayHerriot`.
    domain, vardir : str
        Columns of a plain frame: area labels, sampling variances.
    link : {"log", "logit"}
        h.
    prior : Prior or str, optional
        Of σ: as of `FayHerriot`. By default half-normal; a scale left out is the standard deviation of h(y).
    coefficient_sd : float
        Of independent normal priors around 0 of the coefficients on columns of mean 0 and deviation 1. Flat
        coefficients would have an improper posterior: the likelihood does not vanish at the ends of the
        scale.
    per : sequence of str
        Columns whose values get a fit of their own, with the numbers and the draws it has without the others.
    level : float
        Of the intervals.

    References
    ----------
    You and Rao (2002), Canadian Journal of Statistics 30, 3-15.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("ABCDEFGH"), "y": [1.1, 2.2, 0.8, 3.1, 4.6, 3.2, 2.2, None],
    ...                       "vardir": 0.1, "x": [0, 1, 0, 2, 3, 2, 1, 2]})
    >>> fit = sae.UnmatchedFayHerriot("y ~ x", domain="area", link="log").fit(frame)
    >>> fit.estimates["estimate"].round(1).tolist()[-1]  # H has no direct estimate
    3.1
    """

    kind: ClassVar[str] = "unmatched_fay_herriot"

    link: Link = "log"
    vardir: str = "vardir"
    coefficient_sd: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("link", self.link, Link)
        if not 0.0 < self.coefficient_sd < np.inf:
            raise SaeSpecError(
                f"coefficient_sd = {self.coefficient_sd} is not positive and finite.",
                hint="Flat coefficients would have an improper posterior.",
            )

    @property
    def _title(self) -> str:
        return f"Unmatched Fay–Herriot, {self.link} link"

    @property
    def _columns(self) -> tuple[str, str]:
        return self.vardir, ""

    def _observed(self, rows: AreaRows) -> Observed:
        bad = rows.sampled & ~((rows.vardir > 0) & np.isfinite(rows.vardir))
        refuse_values(
            rows,
            bad,
            rows.vardir,
            "Sampling variances are not positive",
            'Smooth them with sae.direct(..., smoothing="gvf"), or drop the direct estimates.',
            self.vardir,
        )
        sampled, link = rows.sampled, TRANSFORMS[self.link]
        return Observed(
            Unmatched(rows.direct[sampled], rows.vardir[sampled], link),
            rows.direct,
            sampled,
            link,
            np.zeros(int(sampled.sum()), int),
            vardir=rows.vardir,
            coefficient_sd=self.coefficient_sd,
            more=(f"coefficients normal({self.coefficient_sd:g}) on scaled columns",),
        )
