"""The robust Fay–Herriot model: a few areas unlike all others do not spoil the estimates of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from sae.area_level.arrays import AreaArrays
from sae.area_level.effects.options import read_component
from sae.area_level.effects.panel import build_panel
from sae.area_level.effects.spatial import SAR
from sae.area_level.effects.temporal import AR1
from sae.area_level.reading import read_rows
from sae.area_level.robust.reblup import RobustOptions, fit_areas, fit_panel
from sae.errors import SaeSpecError
from sae.literals import RobustMse, RobustPredictor
from sae.numerics.inference.tally import replicates_text
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.robust.fit import HUBER_K
from sae.results import AreaModel, Result, RunRecord, eblup_result, no_seed
from sae.specs import one_of, split_formula

__all__ = ["RobustFayHerriot"]


@dataclass(frozen=True, repr=False)
class RobustFayHerriot(AreaModel[Result]):
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
        Of the intervals: quantiles of the exact posterior with normal effects and flat priors, in which
        residuals beyond 3 standard deviations are clipped; widened to hold the robust estimate.
    replicates : int, optional
        Of the bootstrap; by default as many, from 200 to 12,800, as bring the Monte Carlo error of every MSE
        to 2 %, which is 1 % of its root (200 with `spatial` or `temporal`).
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
    >>> fit = sae.RobustFayHerriot("y ~ x").fit(frame)
    >>> fit.coefficients["coef"].round(1).to_dict()
    {'Intercept': 3.0, 'x': 2.0}
    """

    kind: ClassVar[str] = "robust_fay_herriot"

    vardir: str = "vardir"
    predictor: RobustPredictor = "reblup"
    k: float = HUBER_K
    c: float = 1.0
    mse: RobustMse = "pseudo"
    replicates: int | None = None
    spatial: SAR | None = None
    temporal: AR1 | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("predictor", self.predictor, RobustPredictor)
        one_of("mse", self.mse, RobustMse)
        if self.replicates is not None and self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")
        for name in ("k", "c"):
            if not getattr(self, name) > 0.0:
                raise SaeSpecError(f"{name} = {getattr(self, name)}: a tuning constant is positive.")
        for name in ("spatial", "temporal"):
            object.__setattr__(self, name, read_component(name, getattr(self, name), bayes=False))
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
    def _title(self) -> str:
        return f"{', '.join(filter(None, ('Robust Fay–Herriot', self.structure)))} ({self.predictor.upper()})"

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{self._title}: {self.formula}"

    @property
    def wants_covariance(self) -> bool:
        """Whether the model uses the covariances between direct estimates: it refuses them."""
        return self.temporal is not None

    @property
    def mse_name(self) -> str:
        """The MSE as it stands in the estimate table."""
        if self.mse == "bootstrap":
            return f"parametric bootstrap, {replicates_text(self.replicates)}"
        return "pseudo-linear, Chambers–Chandra–Tzavidis"

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        effects = f"{self.structure} effects" if self.structure else "an area effect"
        return (
            f"models {outcome} by {covariates} and {effects}, Huber's ψ with k = {self.k:g}; "
            f"predictor: {self.predictor.upper()}; MSE: {self.mse_name}"
        )

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        outcome, covariates = split_formula(self.formula)
        rows = read_rows(
            data,
            areas,
            outcome=outcome,
            domain=self.domain,
            vardir=self.vardir,
            n_eff="n_eff",
            per=(self.temporal.column,) if self.temporal else (),
        )
        if seed is None and self.mse == "bootstrap":
            raise no_seed("Mean squared errors come from a bootstrap")
        options = RobustOptions(
            k=self.k,
            c=self.c,
            corrected=self.predictor == "reblupbc",
            bootstrap=self.mse == "bootstrap",
            mse_name=self.mse_name,
            level=self.level,
            replicates=self.replicates,
            seed=seed,
        )
        if self.structure:
            panel = build_panel(rows, covariates, self.spatial, self.temporal)
            rows, arrays = panel.rows, panel.arrays
            eblup = fit_panel(panel, self.spatial, self.temporal, options)
        else:
            arrays = AreaArrays.build(rows, TRANSFORMS["identity"], covariates)
            eblup = fit_areas(arrays, options)
        method = f"{self.predictor.upper()}, Huber k {self.k:g}"
        record = RunRecord(self._title, method, arrays.run_id(self, seed), seed)
        return eblup_result(self, rows, arrays.data, eblup, record)
