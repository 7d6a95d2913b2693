"""Fay–Herriot with Student-t area effects: a few areas may lie far from the regression."""

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

__all__ = ["StudentFayHerriot"]


@dataclass(frozen=True, repr=False)
class StudentFayHerriot(AreaModel[Result]):
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
    >>> fit = sae.StudentFayHerriot("y ~ 1").fit(frame, seed=1)
    >>> normal = sae.FayHerriot("y ~ 1", method="bayes").fit(frame)
    >>> bool(fit.estimates["estimate"][0] > normal.estimates["estimate"][0])
    True
    """

    kind: ClassVar[str] = "student_fay_herriot"

    vardir: str = "vardir"
    df: float | None = None
    prior: Prior | str | None = None
    draws: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        prior_of(self.prior)
        if self.df is not None and not (math.isfinite(self.df) and self.df > 2.0):
            raise SaeSpecError(
                f"df = {self.df}: effects with a variance need more than 2 degrees of freedom.",
                hint="Leave it out to learn it, or use FayHerriot for normal effects.",
            )
        check_draws(self.draws)

    @property
    def _title(self) -> str:
        return f"Fay–Herriot, Student-t effects ({self._freedom}, Bayes)"

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{self._title}: {self.formula}"

    def _description(self) -> str:
        return f"{self.formula}, Student-t effects ({self._freedom}), Gibbs sampler"

    @property
    def _freedom(self) -> str:
        return "df learnt" if self.df is None else f"df {self.df:g}"

    @property
    def _random_step(self) -> str:
        return "The posterior comes from a sampler"

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        assert seed is not None
        arrays = read_arrays(data, areas, self.formula, domain=self.domain, vardir=self.vardir)
        posterior = fit_scale_mixture(
            arrays, prior=self.prior, level=self.level, draws=self.draws, seed=seed, df=self.df
        )
        record = RunRecord(self._title, "posterior mean", arrays.run_id(self, seed), seed)
        return posterior_result(self, arrays.rows, arrays.data, posterior, record)
