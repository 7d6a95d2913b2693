"""The nested error model: units of a sample and population means of areas, joined by an area effect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd

from sae.errors import SaeSpecError
from sae.literals import LikelihoodMethod, MomentMse
from sae.numerics.inference.tally import replicates_text
from sae.results import FitTables, Message, Result, RunRecord, UnitModel, eblup_result, posterior_result
from sae.specs import one_of, split_formula
from sae.specs.priors import Prior
from sae.survey import Survey
from sae.unit_level.alike import alike_messages
from sae.unit_level.nested_error.arrays import UnitArrays
from sae.unit_level.nested_error.bayes import fit_bayes
from sae.unit_level.nested_error.eblup import fit_eblup
from sae.unit_level.nested_error.pseudo import fit_pseudo
from sae.unit_level.priors import unit_prior

__all__ = ["NestedError"]


@dataclass(frozen=True, repr=False)
class NestedError(UnitModel[Result]):
    """Nested error model of units, after Battese, Harter and Fuller.

    y_di = x_di'β + u_d + e_di, u_d ~ N(0, σu²), e_di ~ N(0, σe²); with `error_scale` e_di ~ N(0, σe² k_di²).

    Parameters
    ----------
    formula : str
        "outcome ~ covariates": columns of the units.
    domain : str
        Column of the area labels, in the units and in the areas.
    method : {"reml", "ml", "bayes"}
        Restricted or full maximum likelihood and the EBLUP, or the exact posterior.
    mse : {"auto", "analytical", "bootstrap"}
        "auto" is the analytical MSE of Prasad and Rao; the parametric bootstrap needs a seed.
    prior : Prior or str, optional
        For "bayes", of σu itself: an object of `sae.priors` or its text; by default half-normal with the
        standard deviation of the outcome for its scale. "flat-ratio" is flat on σu²/σe². σe² has density
        1/σe², the coefficients are flat.
    population : str, optional
        Column of the areas with population sizes N_d: the predictions are then means of these N_d units,
        f ȳ + (1 - f) (prediction of the others) with f = n_d / N_d. Without sizes they are x̄'β + u, as if
        the populations were infinite. A census of units brings its own sizes; in a census of cells the
        column says how many units each stands for. Not with `weights` or `error_scale`, whose predictions
        are always those x̄'β + u.
    weights : str, optional
        Column of the units with survey weights: the pseudo-EBLUP of You and Rao, which leans on the weighted
        mean of an area as it has more units, with coefficients from weighted equations; its MSE is that of
        Torabi and Rao. Where the design favours some outcomes beyond what the covariates tell, the EBLUP is
        biased and it is hardly. Predictions added up with the sums of the weights meet the survey regression
        estimator. Likelihood and analytical MSE only.
    error_scale : str, optional
        Column of the units with known factors k of the errors' standard deviation.
    level : float
        Of the intervals.
    replicates : int, optional
        Of the bootstrap; by default as many, from 200 to 12,800, as bring the Monte Carlo error of every MSE
        to 2 %, which is 1 % of its root.

    Notes
    -----
    ``areas`` of `fit` holds population means, one row per area: a column per column of the design, by its
    name (``x``, ``sex[T.2]`` or ``sex[2]`` for the share of a level; a level that holds for a whole area as
    text). Or a census: several rows per area with the covariates of the formula, averaged here. It is not
    needed for a formula without covariates.

    References
    ----------
    Battese, Harter and Fuller (1988), JASA 83, 28–36; Prasad and Rao (1990), JASA 85, 163–171; You and Rao
    (2002), Canadian Journal of Statistics 30, 431–439; Torabi and Rao (2010), the same 38, 598–608.

    Examples
    --------
    >>> units = pd.DataFrame({"area": list("AAABBBCCCC"), "x": [1, 2, 3, 2, 3, 4, 1, 3, 5, 4],
    ...                       "y": [2.1, 4.2, 5.9, 5.0, 7.1, 8.8, 1.2, 4.9, 9.1, 7.2]})
    >>> means = pd.DataFrame({"area": ["A", "B", "C", "D"], "x": [2.5, 3.0, 2.0, 4.0], "N": [90, 80, 70, 60]})
    >>> fit = sae.NestedError("y ~ x", domain="area", population="N").fit(units, areas=means)
    >>> fit.coefficients["coef"].round(2).to_dict()
    {'Intercept': 0.15, 'x': 1.96}
    >>> fit.estimates["estimate"].round(1).tolist()  # D has no units
    [5.0, 7.0, 3.2, 8.0]
    """

    kind: ClassVar[str] = "nested_error"

    method: LikelihoodMethod = "reml"
    mse: MomentMse = "auto"
    prior: Prior | str | None = None
    population: str | None = None
    replicates: int | None = None
    weights: str | None = None
    error_scale: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method", self.method, LikelihoodMethod)
        one_of("mse", self.mse, MomentMse)
        if self.replicates is not None and self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")
        if self.method == "bayes" and self.mse != "auto":
            raise SaeSpecError(
                f'mse={self.mse!r} has no meaning with method="bayes".',
                hint="The posterior variance takes its place.",
            )
        self._check_columns()
        if self.prior is not None:
            if self.method != "bayes":
                raise SaeSpecError(
                    f"prior={str(self.prior)!r} has no meaning with method={self.method!r}.",
                    hint='Use method="bayes".',
                )
            object.__setattr__(self, "prior", unit_prior(self.prior))

    def _check_columns(self) -> None:
        named = {"weights": self.weights, "error_scale": self.error_scale}
        for name in [name for name, column in named.items() if column is not None and self.population]:
            raise SaeSpecError(
                f"population={self.population!r} has no meaning with {name}={named[name]!r}: its predictions "
                "are those of infinite populations.",
                hint="Leave population= out; sizes of areas still serve aggregate(weights=...).",
            )
        if self.weights is not None and (self.method == "bayes" or self.mse == "bootstrap"):
            option = 'method="bayes"' if self.method == "bayes" else 'mse="bootstrap"'
            raise SaeSpecError(
                f"{option} has no meaning with weights={self.weights!r}.",
                hint='The pseudo-EBLUP takes method="reml" or "ml" and its analytical MSE.',
            )

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        method = "Bayes" if self.method == "bayes" else self.method.upper()
        if self.weights is not None:
            return f"nested error, pseudo-EBLUP, {method}: {self.formula}"
        return f"nested error, {method}: {self.formula}"

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        what = f"models {outcome} of units by {covariates} and an effect of {self.domain}"
        if self.method == "bayes":
            return f"{what}; exact posterior, prior of σu {unit_prior(self.prior)}"
        if self.weights is not None:
            return f"{what}; {self.method.upper()}; pseudo-EBLUP with the weights {self.weights}"
        mse = f"parametric bootstrap, {replicates_text(self.replicates)}"
        return f"{what}; {self.method.upper()}; MSE: {mse if self.mse == 'bootstrap' else 'analytical'}"

    @property
    def _random_step(self) -> str:
        return "The MSE comes from a parametric bootstrap" if self.mse == "bootstrap" else ""

    def _fit(
        self, data: pd.DataFrame | Survey, areas: pd.DataFrame | str | Path | None, seed: int | None
    ) -> Result:
        outcome, covariates = split_formula(self.formula)
        arrays = UnitArrays.build(
            data,
            areas,
            outcome=outcome,
            covariates=covariates,
            domain=self.domain,
            population=self.population,
            weights=self.weights,
            error_scale=self.error_scale,
        )
        method, level = self.method.upper(), self.level
        if self.method == "bayes":
            posterior = fit_bayes(arrays, prior=self.prior, level=level)
            alike = self._alike(data, outcome, arrays, posterior.tables)
            posterior = replace(posterior, messages=(*posterior.messages, *alike))
            title = f"Nested error (Bayes, prior of σu {posterior.prior})"
            record = RunRecord(title, "posterior mean", arrays.run_id(self, None))
            fitted = arrays.fitted(posterior.tables.variance_components)
            return posterior_result(self, arrays.rows(outcome), fitted, posterior, record)
        predictor, title = "EBLUP", f"Nested error ({method})"
        if self.weights is not None:
            predictor, title, seed = "pseudo-EBLUP", f"Nested error, pseudo-EBLUP ({method})", None
            eblup = fit_pseudo(arrays, method=self.method, level=level)
        else:
            eblup = fit_eblup(
                arrays, method=self.method, mse=self.mse, level=level, replicates=self.replicates, seed=seed
            )
        alike = self._alike(data, outcome, arrays, eblup.tables)
        eblup = replace(eblup, messages=(*eblup.messages, *alike))
        record = RunRecord(title, f"{predictor}, {method}", arrays.run_id(self, seed), seed)
        fitted = arrays.fitted(eblup.tables.variance_components)
        return eblup_result(self, arrays.rows(outcome), fitted, eblup, record)

    def _alike(
        self, data: pd.DataFrame | Survey, outcome: str, arrays: UnitArrays, tables: FitTables
    ) -> list[Message]:
        beta = tables.coefficients["coef"].to_numpy(dtype=float)
        return alike_messages(
            data,
            arrays.y,
            (arrays.y - arrays.X @ beta) / (1.0 if arrays.scale is None else arrays.scale),
            arrays.area,
            outcome=outcome,
            remedy=f'sae.TwoFoldNestedError(domain="{{}}", area="{self.domain}") gives each an effect',
        )
