"""The two-fold nested error model: units in sub-areas in areas, such as districts in cities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from sae.errors import SaeSpecError
from sae.literals import MomentMse
from sae.numerics.inference.tally import replicates_text
from sae.results import Result, RunRecord, UnitModel, eblup_result
from sae.specs import one_of, split_formula
from sae.survey import Survey
from sae.unit_level.alike import alike_messages
from sae.unit_level.two_fold.cells import TwoFoldArrays
from sae.unit_level.two_fold.eblup import fit_two_fold_units

__all__ = ["TwoFoldNestedError"]


@dataclass(frozen=True, repr=False)
class TwoFoldNestedError(UnitModel[Result]):
    """Nested error model of units in sub-areas within areas.

    y = x'β + v + u + e, v ~ N(0, σv²) of the area, u ~ N(0, σu²) of the sub-area, e ~ N(0, σe²): a sub-area
    without a sample borrows from the others of its area. Estimates of the areas are those of their sub-areas
    put together: ``fit.aggregate(by=area, weights=...)``, unsampled sub-areas included.

    With `groups` the sub-areas are the groups of each area, such as men and women: one effect of the area,
    one of area × group.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates": columns of the units.
    domain : str
        Column of the labels of the sub-areas, in the units and in the population; with `groups` of the areas.
    area : str, optional
        Column of the areas in the population, or in the units where there is none.
    groups : str, optional
        Column of the groups, in the units and in the population. Either `area` or `groups` is needed.
    method : {"reml", "ml"}
    mse : {"auto", "analytical", "bootstrap"}
        "auto" is the analytical MSE, of second order. The parametric bootstrap needs a seed.
    population : str, optional
        Column of the population with numbers of units, as in `NestedError`.
    level : float
        Of the intervals: Student's t on the MSE with 50 sampled areas or more and both variances positive;
        else the posterior with flat priors of the variances.
    replicates : int, optional
        Of the bootstrap; by default as many, from 200 to 1,600, as bring the Monte Carlo error of every MSE
        to 2 %, which is 1 % of its root.

    Notes
    -----
    ``areas`` of `fit` is as of `NestedError`: population means with a row per sub-area (per area and group),
    or a census of units or cells.

    References
    ----------
    Stukel and Rao (1999), Journal of Statistical Planning and Inference 78, 131-147; Marhuenda, Molina,
    Morales and Rao (2017), Journal of the Royal Statistical Society A 180, 1111-1136.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> place = pd.DataFrame({"district": [f"D{k}" for k in range(60)], "N": 90})
    >>> place["city"] = np.repeat(range(15), 4)
    >>> place["effect"] = np.repeat(rng.normal(size=15), 4) + 0.5 * rng.normal(size=60)
    >>> units = place.loc[np.repeat(range(0, 60, 2), 6)]
    >>> units = units.assign(y=5 + units["effect"] + rng.normal(size=len(units)))
    >>> spec = sae.TwoFoldNestedError("y ~ 1", domain="district", area="city", population="N")
    >>> fit = spec.fit(units, areas=place)
    >>> len(fit.estimates), len(fit.aggregate(by="city", weights="N"))
    (60, 15)
    """

    kind: ClassVar[str] = "two_fold_nested_error"

    area: str | None = None
    groups: str | None = None
    method: Literal["reml", "ml"] = "reml"
    mse: MomentMse = "auto"
    population: str | None = None
    replicates: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method", self.method, ("reml", "ml"))
        one_of("mse", self.mse, MomentMse)
        if (self.area is None) == (self.groups is None):
            raise SaeSpecError(
                "A two-fold model takes either area= or groups=.",
                hint='domain="district", area="city" for sub-areas in areas; domain="city", groups="sex" for '
                "the groups of each area.",
            )
        if self.domain in (self.area, self.groups):
            raise SaeSpecError(f"{self.domain!r} cannot be both the sub-areas and the areas or groups.")
        if self.replicates is not None and self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")

    @property
    def _title(self) -> str:
        return f"Two-fold nested error ({self.method.upper()})"

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"two-fold nested error, {self.method.upper()}: {self.formula}"

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        whose = f"{self.area} and one of {self.domain}"
        if self.groups is not None:
            whose = f"{self.domain} and one of {self.domain} × {self.groups}"
        mse = f"parametric bootstrap, {replicates_text(self.replicates)}"
        return (
            f"models {outcome} of units by {covariates}, an effect of {whose}; {self.method.upper()}; "
            f"MSE: {mse if self.mse == 'bootstrap' else 'analytical'}"
        )

    @property
    def _random_step(self) -> str:
        return "The MSE comes from a parametric bootstrap" if self.mse == "bootstrap" else ""

    def _fit(
        self, data: pd.DataFrame | Survey, areas: pd.DataFrame | str | Path | None, seed: int | None
    ) -> Result:
        outcome, covariates = split_formula(self.formula)
        arrays = TwoFoldArrays.build(
            data,
            areas,
            outcome=outcome,
            covariates=covariates,
            domain=self.domain,
            area=self.area,
            groups=self.groups,
            population=self.population,
        )
        eblup = fit_two_fold_units(
            arrays,
            method=self.method,
            bootstrap=self.mse == "bootstrap",
            level=self.level,
            replicates=self.replicates,
            seed=seed,
        )
        units = arrays.units
        alike = alike_messages(data, units.y, units.y, units.area, outcome=outcome, remedy="")
        eblup = replace(eblup, messages=(*eblup.messages, *alike))
        record = RunRecord(
            self._title, f"EBLUP, {self.method.upper()}", arrays.units.run_id(self, seed, arrays.area), seed
        )
        return eblup_result(self, arrays.rows(outcome), arrays.units.data, eblup, record)
