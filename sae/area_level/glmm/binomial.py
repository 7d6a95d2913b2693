"""Counts out of trials in areas: binomial with area effects on the logit scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sae.area_level.glmm.base import AreaEffects, Observed, refuse_values
from sae.area_level.rows import AreaRows
from sae.errors import SaeInputError
from sae.numerics.glmm.likelihoods import Binomial
from sae.numerics.inference.transforms import TRANSFORMS

__all__ = ["BinomialMixed"]


@dataclass(frozen=True, repr=False)
class BinomialMixed(AreaEffects):
    """Binomial model of area counts or shares with area effects, for proportions.

    y_d ~ binomial(n_d, P_d), logit P_d = x_d'β + u_d, u_d ~ N(0, σ²). The posterior of P_d, with flat β.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates". The outcome is a column of counts in a frame, or an indicator of
        `DirectEstimates` that is a share: then y = n_eff × share out of n_eff trials, neither of them whole.
    domain, trials : str
        Columns of a frame: area labels, and the numbers of trials; an area with 0 trials has no sample.
        Counts and trials need not be whole, so that effective sample sizes carry the design effect.
    prior : Prior or str, optional
        Of σ: as of `FayHerriot`. By default half-normal; a scale left out is the standard deviation of the
        empirical logits.
    per : sequence of str
        Columns whose values get a fit of their own, with the numbers and the draws it has without the others.
    level : float
        Of the intervals.

    Notes
    -----
    Area effects are integrated on grids, hyperparameters by weighted points of which `Result.diagnostics`
    gives Pareto k and the effective number. The fit draws no random numbers.

    References
    ----------
    Rao and Molina (2015), Small Area Estimation, 2nd ed., section 10.13; Chen, Wakefield and Lumley (2014),
    Spatial and Spatio-temporal Epidemiology 11, 33-43 (effective sample sizes).

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("ABCDEFGH"), "y": [2, 5, 0, 9, 12, 7, 3, 0],
    ...                       "n": [20, 25, 10, 30, 30, 22, 15, 0], "x": [0, 1, 0, 2, 3, 2, 1, 2]})
    >>> fit = sae.BinomialMixed("y ~ x", domain="area").fit(frame)
    >>> fit.estimates["estimate"].round(1).tolist()[-1]  # H has no trials
    0.3
    """

    kind: ClassVar[str] = "binomial_mixed"

    trials: str = "n"

    @property
    def _title(self) -> str:
        return "Binomial logit"

    @property
    def _columns(self) -> tuple[str, str]:
        return "", self.trials

    def _observed(self, rows: AreaRows) -> Observed:
        n = rows.n_eff
        missing = rows.sampled & ~np.isfinite(n)
        if missing.any():
            raise SaeInputError(
                f"The number of trials is missing in {', '.join(map(str, rows.names[missing][:5]))}.",
                hint="Give it, 0 where nothing was observed.",
                areas=rows.names[missing],
                column=self.trials,
            )
        sampled = rows.sampled & (n > 0)
        y = rows.direct * n if rows.from_direct else rows.direct
        column = "n_eff" if rows.from_direct else self.trials
        refuse_values(rows, rows.sampled & (n < 0), n, "The number of trials is negative", "", column)
        slack = 1e-9 * np.maximum(n, 1.0)
        refuse_values(
            rows,
            sampled & ((y < -slack) | (y > n + slack)),
            y,
            f"Counts are not between 0 and the number of trials ({column})",
            "The outcome counts successes; a share with its effective sample size goes in as their product.",
            column,
        )
        if not sampled.any():
            raise SaeInputError("No area has any trials.", column=column)
        y, n = np.clip(y[sampled], 0.0, n[sampled]), n[sampled]
        direct = np.full(len(sampled), np.nan)
        direct[sampled] = y / n
        ends = np.where(y <= 0.0, -1, np.where(y >= n, 1, 0))
        return Observed(Binomial(y, n), direct, sampled, TRANSFORMS["logit"], ends)
