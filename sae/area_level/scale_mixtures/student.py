"""Fay–Herriot with Student-t area effects: a few areas may lie far from the regression."""

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

__all__ = ["StudentFayHerriot"]


@dataclass(frozen=True, repr=False)
class StudentFayHerriot(Specification):
    """Bayesian Fay–Herriot model with u_d ~ σ t(ν): an outlying area keeps its own estimate.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates", as in `FayHerriot`.
    domain, vardir : str
        Columns of a plain frame: area labels and sampling variances.
    df : float, optional
        ν, above 2; by default it is learnt, with the prior 2 + gamma(2, 0.1). Large, it is `FayHerriot`.
    prior : Prior or str, optional
        Of the scale σ: see `sae.priors`; half-normal in the data's own unit by default. Coefficients are
        flat.
    level : float
    draws : int
        Kept draws of four Gibbs chains together.

    References
    ----------
    Datta and Lahiri (1995), J. Multivariate Anal. 54, 310-328; Geweke (1993), J. Appl. Econometrics 8,
    S19-S40; Juárez and Steel (2010), J. Bus. Econ. Stat. 28, 52-66 (the prior of ν).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> frame = pd.DataFrame({"domain": [f"A{k}" for k in range(30)], "vardir": 0.1})
    >>> frame["y"] = 0.3 * rng.normal(size=30)
    >>> frame.loc[0, "y"] = 4.0
    >>> fit = StudentFayHerriot("y ~ 1").fit(frame, seed=1)
    >>> normal = sae.FayHerriot("y ~ 1", method="bayes").fit(frame)
    >>> bool(fit.estimates["estimate"][0] > normal.estimates["estimate"][0])
    True
    """

    kind: ClassVar[str] = "student_fay_herriot"

    formula: str
    domain: str = "domain"
    vardir: str = "vardir"
    df: float | None = None
    prior: Prior | str | None = None
    level: float = 0.95
    draws: int = 4000

    def __post_init__(self) -> None:
        prior_of(self.prior)
        if self.df is not None and not (math.isfinite(self.df) and self.df > 2.0):
            raise SaeSpecError(
                f"df = {self.df}: effects with a variance need more than 2 degrees of freedom.",
                hint="Leave it out to learn it, or use FayHerriot for normal effects.",
            )
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.draws < 400:
            raise SaeSpecError(f"draws = {self.draws}: at least 400 are needed to judge the chains.")

    def _words(self) -> str:
        return f"{self.formula}, Student-t effects ({self._freedom}), Gibbs sampler"

    @property
    def _freedom(self) -> str:
        return "df learnt" if self.df is None else f"df {self.df:g}"

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
            self, data, areas, chain_seed(seed), df=self.df,
            title=f"Fay–Herriot, Student-t effects ({self._freedom}, Bayes)",
        )  # fmt: skip
