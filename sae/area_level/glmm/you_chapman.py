"""Fay–Herriot with sampling variances that are estimates themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sae.area_level.glmm.base import AreaEffects, Observed, refuse_values
from sae.area_level.rows import AreaRows
from sae.errors import SaeSpecError
from sae.numerics.glmm.likelihoods import StudentVariance
from sae.numerics.inference.transforms import TRANSFORMS
from sae.samplers.grid import GridPosterior
from sae.samplers.student_variance import VariancePosterior
from sae.tables.columns import require, to_numbers

__all__ = ["YouChapman"]

_NUMBER = r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*"
_GAMMA = re.compile(rf"inverse-gamma\({_NUMBER},{_NUMBER}\)")


@dataclass(frozen=True, repr=False)
class YouChapman(AreaEffects):
    """Fay–Herriot model with unknown sampling variances, after You and Chapman.

    y_d ~ N(θ_d, σ_d²), θ_d = x_d'β + u_d, u_d ~ N(0, σ²); of σ_d² an estimate s_d² with f_d degrees of
    freedom is known, f_d s_d² ~ σ_d² χ²(f_d), independent of y_d. The posterior of θ_d, with flat β; σ_d² is
    integrated out.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates", as in `FayHerriot`.
    domain, vardir, df : str
        Columns: area labels; estimates s_d² of the sampling variances, not smoothed; their degrees of
        freedom, n_d - 1 in a simple random sample, PSUs less strata in a complex one.
    variance_prior : str
        Of every σ_d²: "jeffreys" (1 / σ_d²), "flat", or "inverse-gamma(a, b)" with density proportional to
        σ_d^(-2a-2) exp(-b / σ_d²).
    prior : Prior or str, optional
        Of σ: as of `FayHerriot`. By default half-normal; a scale left out is the standard deviation of y.
    per : sequence of str
        Columns whose values get a fit of their own, with the numbers and the draws it has without the others.
    level : float
        Of the intervals.

    References
    ----------
    You and Chapman (2006), Survey Methodology 32, 97-103.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("ABCDEFGH"), "y": [1.1, 5.9, 5.2, 9.3, 8.6, 13.5, 13.1, None],
    ...                       "vardir": 0.4, "df": 9, "x": [1, 2, 3, 4, 5, 6, 7, 4]})
    >>> fit = sae.YouChapman("y ~ x", domain="area").fit(frame)
    >>> round(float(fit.estimates["estimate"].iloc[7]), 1)  # H has no direct estimate
    8.1
    """

    kind: ClassVar[str] = "you_chapman"

    vardir: str = "vardir"
    df: str = "df"
    variance_prior: str = "jeffreys"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._shape_rate()

    def _shape_rate(self) -> tuple[float, float]:
        """Shape and rate of the inverse gamma distribution that the prior is a member or limit of."""
        limits = {"jeffreys": (0.0, 0.0), "flat": (-1.0, 0.0)}
        if self.variance_prior in limits:
            return limits[self.variance_prior]
        shapes = _GAMMA.fullmatch(self.variance_prior)
        if not shapes or not min(float(shapes[1]), float(shapes[2])) > 0.0:
            raise SaeSpecError(
                f"variance_prior = {self.variance_prior!r} does not exist.",
                hint='It takes "jeffreys", "flat" or "inverse-gamma(2, 0.5)", with positive numbers.',
            )
        return float(shapes[1]), float(shapes[2])

    @property
    def _title(self) -> str:
        return "You–Chapman"

    @property
    def _columns(self) -> tuple[str, str]:
        return self.vardir, ""

    @property
    def _posterior(self) -> Callable[..., GridPosterior]:
        return VariancePosterior

    def _observed(self, rows: AreaRows) -> Observed:
        shape, rate = self._shape_rate()
        require(rows.covariates, [self.df])
        df = to_numbers(rows.covariates, self.df, names=rows.names)
        bad = rows.sampled & ~((rows.vardir > 0) & np.isfinite(rows.vardir))
        refuse_values(
            rows,
            bad,
            rows.vardir,
            "Estimated sampling variances are not positive",
            "Areas whose few units are alike have no variance estimate: drop their direct estimates.",
            self.vardir,
        )
        few = rows.sampled & ~(df + 2.0 * shape > 0) | rows.sampled & ~np.isfinite(df)
        least = f"more than {max(-2.0 * shape, 0.0):g} degrees of freedom"
        what = f"The {self.variance_prior} prior needs {least}; there are not as many"
        refuse_values(rows, few, df, what, "", self.df)
        sampled = rows.sampled
        return Observed(
            StudentVariance(rows.direct[sampled], rows.vardir[sampled], df[sampled], shape, rate),
            rows.direct,
            sampled,
            TRANSFORMS["identity"],
            np.zeros(int(sampled.sum()), int),
            vardir=rows.vardir,
            more=(f"sampling variances {self.variance_prior}",),
        )
