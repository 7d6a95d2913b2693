"""The M-quantile model: areas by the quantile-like order at which their units lie, without random effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd

from sae.errors import SaeSpecError
from sae.literals import MomentMse, MQuantileEstimator
from sae.results import Result, RunRecord, UnitModel, eblup_result
from sae.specs import one_of, split_formula
from sae.survey import Survey
from sae.unit_level.alike import alike_messages
from sae.unit_level.m_quantile.arrays import MQuantileArrays
from sae.unit_level.m_quantile.fit import PSEUDO, MQuantileOptions, fit_m_quantile
from sae.unit_level.m_quantile.indicators import targets_of

__all__ = ["MQuantile"]


@dataclass(frozen=True, repr=False)
class MQuantile(UnitModel[Result]):
    """M-quantile model of units, after Chambers and Tzavidis.

    Every unit has an order q at which the M-quantile regression of that order passes through it; an area has
    the mean order of its units, and its own regression x'β(q_d). Nothing is said of the distribution of areas
    or errors, and outliers move no regression far.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates": columns of the units.
    domain : str
        Column of the area labels, in the units and in the areas.
    estimator : {"bias_adjusted", "naive"}
        From the distribution function of Chambers and Dunstan, in which every unit outside the sample has the
        residuals of its area; or from the regression of the area alone, which is biased and too narrow.
    indicators : tuple of str
        "mean", "head_count", "gap" and "severity" (below `threshold`), "median", "quantile_1" to
        "quantile_99".
    threshold : float, optional
        Poverty line, in the unit of the outcome; poor is who lies strictly below.
    k : float
        Tuning constant of Huber's ψ, in robust standard deviations; a large one gives expectiles.
    mse : {"auto", "analytical", "bootstrap"}
        Pseudo-linear, for means; or of a nonparametric bootstrap, which needs a seed. "auto" takes the first
        for means alone and else the second.
    population : str, optional
        Column of the areas with population sizes; in a census of cells how many units each stands for.
    replicates : int
        Of the bootstrap.
    level : float
        Of the intervals: Student's t on the MSE, inside [0, 1] for shares.

    Notes
    -----
    ``areas`` of `fit` is as for `NestedError`; all but means needs a census of units or cells. A sample whose
    units are all found in the census, by area and covariates, is part of it, and counts as it is.

    ``residuals`` of the result have the ``order`` q_d of each sampled area.

    An area without a sample takes the regression of order 0.5, with the residuals of all units, and the
    variance of areas about it in its MSE. Survey weights are not used.

    References
    ----------
    Chambers and Tzavidis (2006), Biometrika 93, 255–268; Tzavidis, Marchetti and Chambers (2010), Aust. N.
    Z. J. Stat. 52, 167–186; Chambers, Chandra and Tzavidis (2011), Survey Methodology 37, 153–170; Marchetti,
    Tzavidis and Pratesi (2012), Comput. Stat. Data Anal. 56, 2889–2902.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> people = pd.DataFrame({"area": np.repeat(list("ABCD"), 200), "x": rng.normal(10, 2, 800)})
    >>> people["y"] = 5 * people["x"] + 3 * people["area"].map(ord) - 200 + rng.normal(size=800)
    >>> sample = people.groupby("area").head(15)
    >>> spec = sae.MQuantile("y ~ x", domain="area", indicators=("mean", "head_count"), threshold=50)
    >>> fit = spec.fit(sample, areas=people, seed=1)
    >>> table = fit.to_frame().pivot(index="domain", columns="indicator", values="estimate")
    >>> table["mean"].round(1).tolist(), table["head_count"].round(2).tolist()
    ([44.0, 46.7, 50.9, 52.7], [0.75, 0.65, 0.43, 0.42])
    """

    kind: ClassVar[str] = "m_quantile"

    estimator: MQuantileEstimator = "bias_adjusted"
    indicators: tuple[str, ...] = ("mean",)
    threshold: float | None = None
    k: float = 1.345
    mse: MomentMse = "auto"
    population: str | None = None
    replicates: int = 400

    def __post_init__(self) -> None:
        super().__post_init__()
        names = (self.indicators,) if isinstance(self.indicators, str) else tuple(self.indicators)
        object.__setattr__(self, "indicators", names)
        one_of("estimator", self.estimator, MQuantileEstimator)
        one_of("mse", self.mse, MomentMse)
        targets_of(names, self.threshold)
        if not self.k > 0.0:
            raise SaeSpecError(f"k = {self.k}: a tuning constant is positive.")
        if self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")
        if self.mse == "analytical" and names != ("mean",):
            raise SaeSpecError(
                'mse="analytical" is of means; other figures have none.', hint='Use mse="bootstrap".'
            )

    @property
    def _bootstrap(self) -> bool:
        return self.mse == "bootstrap" or self.indicators != ("mean",)

    @property
    def _adjusted(self) -> bool:
        return self.estimator == "bias_adjusted"

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"M-quantile, {self.estimator.replace('_', '-')}: {self.formula}"

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        mse = f"nonparametric bootstrap, {self.replicates} replicates" if self._bootstrap else PSEUDO
        return (
            f"models M-quantiles of {outcome} of units by {covariates}, one regression for each "
            f"{self.domain}; Huber's ψ with k = {self.k:g}; {self.estimator.replace('_', '-')}; MSE: {mse}"
        )

    @property
    def _random_step(self) -> str:
        return "The MSE comes from a nonparametric bootstrap" if self._bootstrap else ""

    def _fit(
        self, data: pd.DataFrame | Survey, areas: pd.DataFrame | str | Path | None, seed: int | None
    ) -> Result:
        outcome, covariates = split_formula(self.formula)
        arrays = MQuantileArrays.build(
            data,
            areas,
            outcome=outcome,
            covariates=covariates,
            domain=self.domain,
            population=self.population,
            indicators=self.indicators,
        )
        targets = targets_of(self.indicators, self.threshold)
        options = MQuantileOptions(
            k=self.k,
            adjusted=self._adjusted,
            names=self.indicators,
            targets=targets,
            bootstrap=self._bootstrap,
            replicates=self.replicates,
            seed=seed,
            level=self.level,
        )
        eblup = fit_m_quantile(arrays, options)
        units = arrays.units
        alike = alike_messages(data, units.y, units.y, units.area, outcome=outcome, remedy="")
        eblup = replace(eblup, messages=(*eblup.messages, *alike))
        way = self.estimator.replace("_", "-")
        record = RunRecord(
            f"M-quantile ({way})", f"M-quantile, {way}, Huber k {self.k:g}", arrays.run_id(self, seed), seed
        )
        rows = arrays.rows(outcome, self.indicators, targets)
        return eblup_result(self, rows, arrays.data(len(targets)), eblup, record)
