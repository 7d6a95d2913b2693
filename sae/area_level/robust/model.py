"""The robust Fay–Herriot model: estimates that a few outlying areas cannot bend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaProblem
from sae.area_level.effects.options import AR1, SAR, read_components
from sae.area_level.effects.panel import build_panel
from sae.area_level.intervals import FEW_AREAS
from sae.area_level.robust.reblup import fit_areas, fit_panel, no_seed
from sae.area_level.rows import read_rows
from sae.errors import SaeSpecError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import seed_of
from sae.numerics.robust.fit import HUBER_K
from sae.results import Result
from sae.specs import Specification, one_of, split_formula

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["RobustFayHerriot"]


@dataclass(frozen=True, repr=False)
class RobustFayHerriot(Specification):
    """Robust Fay–Herriot model of Sinha and Rao: Huber's ψ in the equations of every parameter and effect.

    Area effects, and their spatial and temporal forms, are those of `FayHerriot`; with a large ``k`` the
    estimates are those of maximum likelihood.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates", as in `FayHerriot`.
    domain, vardir : str
        Columns of a plain frame: area labels and sampling variances.
    predictor : {"reblup", "reblupbc"}
        Robust EBLUP, or its bias-corrected form, which stays within c standard errors of the direct estimate.
    k, c : float
        Tuning constants of ψ, in standard deviations (1.345 loses 5 % of the efficiency where nothing is
        outlying), and of the bias correction.
    mse : {"pseudo", "bootstrap"}
        Pseudo-linear: robustness weights and variances taken as known, so that for large k it is g1 + g2. The
        parametric bootstrap draws from the normal model without outliers and needs a seed.
    level : float
        Of the intervals: Student's t on the MSE from 50 sampled areas on; with fewer, or with one of several
        variances estimated 0, pooled quantiles of the bootstrap errors times √MSE, which needs a seed; with
        all variances estimated 0, the posterior of the model with independent effects and without robustness.
    replicates : int
        Of the bootstrap.
    spatial : SAR, optional
        Area effects that neighbours share.
    temporal : AR1, optional
        Effects over time within each area, beside the area effect; sampling errors of different periods must
        be uncorrelated.

    References
    ----------
    Sinha and Rao (2009), Canadian Journal of Statistics 37, 381–399; Chambers, Chandra, Salvati and Tzavidis
    (2014), JRSS B 76, 47–69; Warnholz (2016), thesis, FU Berlin.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> frame = pd.DataFrame({"domain": [f"A{k}" for k in range(60)], "x": np.arange(60.0), "vardir": 0.5})
    >>> frame["y"] = 3 + 2 * frame["x"] + rng.normal(size=60) + np.sqrt(0.5) * rng.normal(size=60)
    >>> frame.loc[59, "y"] += 400  # an error of keying
    >>> fit = RobustFayHerriot("y ~ x").fit(frame)
    >>> fit.coefficients["coef"].round(1).to_dict()
    {'Intercept': 3.0, 'x': 2.0}
    """

    kind: ClassVar[str] = "robust_fay_herriot"

    formula: str
    domain: str = "domain"
    vardir: str = "vardir"
    predictor: str = "reblup"
    k: float = HUBER_K
    c: float = 1.0
    mse: str = "pseudo"
    level: float = 0.95
    replicates: int = 200
    spatial: SAR | None = None
    temporal: AR1 | None = None

    def __post_init__(self) -> None:
        split_formula(self.formula)
        one_of("predictor", self.predictor, ("reblup", "reblupbc"))
        one_of("mse", self.mse, ("pseudo", "bootstrap"))
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")
        for name in ("k", "c"):
            if not getattr(self, name) > 0.0:
                raise SaeSpecError(f"{name} = {getattr(self, name)}: a tuning constant is positive.")
        read_components(self)
        if self.temporal is not None and self.temporal.covariance is not None:
            raise SaeSpecError(
                f"{self.temporal}: the robust model takes sampling errors of periods as uncorrelated.",
                hint="Leave covariance= out, or use FayHerriot.",
            )

    @property
    def structure(self) -> str:
        """The effects in a few words: "", "spatial", "temporal" or "spatial and temporal"."""
        return " and ".join(name for name in ("spatial", "temporal") if getattr(self, name) is not None)

    @property
    def mse_words(self) -> str:
        """The MSE as it stands in the estimate table."""
        if self.mse == "bootstrap":
            return f"parametric bootstrap, {self.replicates} replicates"
        return "pseudo-linear, Chambers–Chandra–Tzavidis"

    def _words(self) -> str:
        outcome, covariates = split_formula(self.formula)
        effects = f"{self.structure} effects" if self.structure else "an area effect"
        return (
            f"models {outcome} by {covariates} and {effects}, Huber's ψ with k = {self.k:g}; "
            f"predictor: {self.predictor.upper()}; MSE: {self.mse_words}"
        )

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Result:
        """Fit the model and predict every area; parameters as of `FayHerriot.fit`.

        Raises
        ------
        SaeInputError
            If an area has an estimate but no positive variance, or lacks covariates; the areas are named.
        SaeSpecError
            If a bootstrap is needed and there is no seed, or sampling errors of periods are correlated.
        SaeConvergenceError
            If the robust equations have no solution that could be found.
        """
        outcome, covariates = split_formula(self.formula)
        per = (self.temporal.column,) if self.temporal else ()
        rows = read_rows(
            data, areas, outcome=outcome, domain=self.domain, vardir=self.vardir, n_eff="n_eff", per=per
        )
        sampled = rows.table["domain"][rows.sampled].nunique()
        if seed is None and (sampled < FEW_AREAS or self.mse == "bootstrap"):
            few = f"Intervals with fewer than {FEW_AREAS} areas"
            raise no_seed("Mean squared errors" if self.mse == "bootstrap" else few)
        number = None if seed is None else seed_of(seed)
        if self.structure:
            panel = build_panel(rows, data, covariates, self.spatial, self.temporal)
            return fit_panel(self, panel, number, few=sampled < FEW_AREAS)
        problem = AreaProblem.build(rows, TRANSFORMS["identity"], covariates)
        return fit_areas(self, problem, number, few=sampled < FEW_AREAS)
