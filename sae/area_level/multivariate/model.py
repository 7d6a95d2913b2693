"""The multivariate Fay–Herriot model: several direct estimates of each area, joined by correlated effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from sae.area_level.finite_population import FinitePopulation
from sae.area_level.multivariate.bayes import MultivariatePosterior, fit_multivariate_bayes
from sae.area_level.multivariate.eblup import MultivariateEblup, fit_multivariate
from sae.area_level.multivariate.reading import read_components
from sae.area_level.multivariate.result import MultivariateResult
from sae.area_level.multivariate.rows import ComponentRows
from sae.area_level.priors import check_bayes
from sae.area_level.rows import checked, fit_kept
from sae.errors import SaeError, SaeSpecError, name_some
from sae.literals import EffectStructure, LikelihoodMethod, MomentMse
from sae.numerics.inference.tally import replicates_text
from sae.results import AreaModel, RunRecord, eblup_result, posterior_result, run_id
from sae.specs import Design, one_of, split_formula
from sae.specs.design import check_rank
from sae.specs.options import check_options
from sae.specs.priors import Prior
from sae.tables.covariates import Covariates, frame_of

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["MultivariateFayHerriot"]

_EFFECTS = {
    "diagonal": "independent effects",
    "common": "independent effects of one variance",
    "ar1": "AR(1) effects",
    "har1": "heteroscedastic AR(1) effects",
    "unstructured": "correlated effects",
}


@dataclass(frozen=True, repr=False)
class MultivariateFayHerriot(AreaModel[MultivariateResult]):
    """Multivariate Fay–Herriot model of R direct estimates per area.

    y_d = X_d β + u_d + e_d, u_d ~ N(0, V_u), e_d ~ N(0, Ψ_d) with the R × R sampling covariances Ψ_d known.

    Parameters
    ----------
    formula : str or sequence of str
        One "outcome ~ covariates" per component (several indicators of `DirectEstimates`, or columns of a
        frame with one row per area); or one formula for the levels of `components`. Every component has
        coefficients of its own.
    components : str
        Grouping column of `DirectEstimates` whose levels are the components, such as "birth".
    domain : str
        Column of a plain frame with the labels of the areas.
    vardir : mapping
        Columns of a plain frame: {"y1": variance, "y2": variance, ("y1", "y2"): covariance}; a covariance may
        be 0 where the samples are independent. Or leave it out and give `fit` the labelled matrix of every
        area. `DirectEstimates` bring their own, with
        ``sae.direct(..., covariance=True)``; smoothed variances keep the correlations, which are 0 where the
        design variance was 0 or missing.
    structure : {"unstructured", "diagonal", "common", "ar1", "har1"}
        V_u: any covariance; independent effects; of one variance; AR(1) along the components, stationary, or
        with a variance each and starting from an effect of variance 1, in squared units of the estimates
        (Benavent and Morales' models 1 to 3): the last one depends on the unit, the AR ones on the order.
    method : {"reml", "ml", "bayes"}
        "bayes" integrates over the covariance of the effects, by nodes; it takes structure="unstructured" or
        "diagonal".
    mse : {"auto", "analytical", "bootstrap"}
        "auto" is the analytical one, G1 + G2 + 2 G3. The parametric bootstrap needs a seed.
    level : float
        Of the intervals: Student's t on the MSE with 50 sampled areas or more in every component and effects
        of positive variance that are not perfectly correlated; else quantiles of the posterior with a flat
        prior on the covariance of the effects.
    replicates : int, optional
        Of the bootstrap; by default as many, from 200 to 12,800, as bring the Monte Carlo error of every MSE
        to 2 %, which is 1 % of its root.
    per : sequence of str
        Columns whose values, such as periods, get a fit of their own.
    prior : Prior or str, optional
        Of each component's standard deviation, with method="bayes": see `sae.priors`; half-normal in the
        component's own unit by default. Correlations are LKJ(1), coefficients flat.
    population : str
        Column with the sizes N of the populations, row by row: estimates of these finite populations, as in
        `FayHerriot`.

    References
    ----------
    Benavent and Morales (2016), CSDA 94, 372–390; Rao and Molina (2015), section 4.4.1.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "area": list("ABCDEFGH"), "x": [1, 2, 3, 4, 5, 6, 7, 8],
    ...     "native": [3.1, 4.2, 5.0, 6.3, 7.1, 8.0, 8.8, 10],
    ...     "foreign": [2.2, 2.9, 4.5, 4.8, 6.3, 6.6, 8.1, None], "v_n": 0.02, "v_f": 0.2})
    >>> spec = sae.MultivariateFayHerriot(
    ...     ["native ~ x", "foreign ~ x"], domain="area",
    ...     vardir={"native": "v_n", "foreign": "v_f", ("native", "foreign"): 0},
    ... )
    >>> gap = spec.fit(frame).contrast({"foreign": 1, "native": -1}, name="gap")
    >>> gap[["domain", "estimate"]].round(1).tail(1).values.tolist()  # H has no foreign-born sample
    [['H', -1.1]]
    """

    kind: ClassVar[str] = "multivariate_fay_herriot"

    formula: Any  # str or sequence of str
    components: str = ""
    vardir: Mapping[Any, Any] | Sequence[tuple[Any, ...]] = ()
    structure: EffectStructure = "unstructured"
    method: LikelihoodMethod = "reml"
    mse: MomentMse = "auto"
    replicates: int | None = None
    per: str | Sequence[str] = ()
    population: str = ""
    prior: Prior | str | None = None

    def __post_init__(self) -> None:
        check_options(self)
        formulas = (self.formula,) if isinstance(self.formula, str) else tuple(self.formula)
        object.__setattr__(self, "formula", formulas)
        super().__post_init__()
        entries = (
            self.vardir.items()
            if isinstance(self.vardir, Mapping)
            else ((v[:-1], v[-1]) for v in self.vardir)
        )
        vardir = tuple((*((key,) if isinstance(key, str) else key), column) for key, column in entries)
        object.__setattr__(self, "vardir", vardir)
        per = (self.per,) if isinstance(self.per, str) else tuple(self.per)
        object.__setattr__(self, "per", per)
        if self.components and self.components in per:
            raise SaeSpecError(
                f"per= names {self.components}, whose levels are the components: they are fitted together.",
                hint="Use FayHerriot(..., per=...) for a model of each level.",
            )
        outcomes = [split_formula(formula)[0] for formula in formulas]
        if len(set(outcomes)) < len(outcomes) or not outcomes:
            raise SaeSpecError(
                f"The formulas model {name_some(outcomes)}: one formula per component is needed."
            )
        if self.components and len(formulas) > 1:
            raise SaeSpecError(
                f'components="{self.components}" takes one formula; there are {len(formulas)}.',
                hint="The components are either several indicators or the levels of one column.",
            )
        one_of("structure", self.structure, EffectStructure)
        one_of("method", self.method, LikelihoodMethod)
        one_of("mse", self.mse, MomentMse)
        refused = {
            f'mse="{self.mse}"': self.mse != "auto",
            f'population="{self.population}"': bool(self.population),
            f"per={list(per)}": bool(per),
            f'structure="{self.structure}"': self.structure not in ("unstructured", "diagonal"),
        }
        hint = 'It takes structure="unstructured" or "diagonal", one fit at a time.'
        check_bayes(self.method, self.prior, refused, hint=hint)
        if self.replicates is not None and self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        split = f" by {self.components}" if self.components else ""
        head = f"multivariate Fay–Herriot, {self.structure}, {self.method.upper()}"
        return f"{head}: {'; '.join(self.formula)}{split}"

    def _description(self) -> str:
        outcomes = ", ".join(split_formula(formula)[0] for formula in self.formula)
        split = f" by {self.components}" if self.components else ""
        fits = f", one fit per {' × '.join(self.per)}" if self.per else ""
        return (
            f"models {outcomes}{split} together, with {self.effects}; "
            f"{self.method.upper()}{fits}; MSE: {self.mse_name}"
        )

    @property
    def effects(self) -> str:
        """The structure of the effects in words."""
        return _EFFECTS[self.structure]

    @property
    def mse_name(self) -> str:
        """Where the MSE comes from, as it stands in the estimate table."""
        if self.method == "bayes":
            return "posterior variance"
        text = "analytical, Benavent–Morales"
        if self.mse == "bootstrap":
            text = f"parametric bootstrap, {replicates_text(self.replicates)}"
        return f"{text}, finite population" if self.population else text

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | Covariates | None = None,
        covariance: Mapping[Any, pd.DataFrame] | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> MultivariateResult:
        """Fit the model and predict every component of every area, with or without a direct estimate.

        Parameters
        ----------
        data : DirectEstimates or DataFrame
            Direct estimates with their covariances; a frame has one row per area (and value of `per`).
        areas : DataFrame or Covariates, optional
            Covariates, joined by name; their areas that `data` lacks are predicted too.
        covariance : mapping, optional
            Of a plain frame, instead of `vardir`: area, or (area, value of `per`), to a DataFrame of sampling
            covariances with the components on both axes, in any order.
        seed : int or Generator, optional
            Of the bootstrap.

        Returns
        -------
        MultivariateResult
            One row per area and component.

        Raises
        ------
        SaeInputError
            If an estimate lacks a positive variance or its covariances, these are not positive definite, or a
            component has no more areas than coefficients; areas and components are named.
        SaeSpecError
            If the bootstrap has no seed.
        """
        return self._run(lambda number: self._fit(data, frame_of(areas), number, covariance), seed, areas)

    @property
    def _random_step(self) -> str:
        return "The MSE comes from a parametric bootstrap" if self.mse == "bootstrap" else ""

    def _fit(
        self,
        data: Any,
        areas: pd.DataFrame | None,
        seed: int | None,
        covariance: Mapping[Any, pd.DataFrame] | None = None,
    ) -> MultivariateResult:
        return self._fit_rows(self._rows(data, areas, covariance), seed)

    @property
    def wants_covariance(self) -> bool:
        """Whether the model uses the covariances between direct estimates."""
        return True

    def fit_each(
        self,
        data: Any,
        *,
        areas: pd.DataFrame | Covariates | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> tuple[MultivariateResult | None, dict[tuple[Any, ...], SaeError]]:
        """Fit every value of ``per`` that can be had: see `AreaModel.fit_each`."""
        if not self.per:
            return super().fit_each(data, areas=areas, seed=seed)
        return fit_kept(
            self._rows(data, frame_of(areas)),
            lambda rows: self._run(lambda number: self._fit_rows(rows, number), seed, areas),
        )

    def _rows(
        self,
        data: Any,
        areas: pd.DataFrame | None,
        covariance: Mapping[Any, pd.DataFrame] | None = None,
    ) -> ComponentRows:
        outcomes, _ = zip(*map(split_formula, self.formula), strict=True)
        return read_components(
            data,
            areas,
            outcomes=outcomes,
            split=self.components,
            domain=self.domain,
            vardir=tuple(self.vardir),
            per=self.per,
            covariance=covariance,
        )

    def _fit_rows(self, rows: ComponentRows, seed: int | None) -> MultivariateResult:
        _, covariates = zip(*map(split_formula, self.formula), strict=True)
        formulas = covariates * (1 if len(covariates) > 1 else len(rows.components))
        X, terms = checked(rows, lambda some: _designs(some, formulas))
        fitted = rows.data(X, tuple(": ".join(term) for term in terms))
        arrays = [rows.direct, rows.psi, X]
        if self.method == "bayes":
            posterior = fit_multivariate_bayes(
                rows, X, terms, structure=self.structure, prior=self.prior, level=self.level
            )
            run = run_id(self, seed, [rows.labels], arrays)
            title = f"Multivariate Fay–Herriot ({self.effects}, Bayes)"
            record = RunRecord(title, "posterior mean", run, seed)
            result = posterior_result(self, rows, fitted, posterior.fit, record)
            effects: MultivariatePosterior | MultivariateEblup = posterior
        else:
            finite = FinitePopulation.of_rows(rows, self.population) if self.population else None
            eblup = fit_multivariate(
                rows,
                X,
                terms,
                structure=self.structure,
                method=self.method,
                bootstrap=self.mse == "bootstrap",
                mse_name=self.mse_name,
                level=self.level,
                replicates=self.replicates,
                seed=seed,
                finite=finite,
            )
            sizes = [] if finite is None else [finite.sample_size, finite.size]
            run = run_id(self, seed, [rows.labels], [*arrays, *sizes])
            title = f"Multivariate Fay–Herriot ({self.effects}, {self.method.upper()})"
            record = RunRecord(title, f"multivariate EBLUP, {self.method.upper()}", run, seed)
            result = eblup_result(self, rows, fitted, eblup.eblup, record)
            effects = eblup
        return MultivariateResult.of(
            result,
            effect_covariance=effects.effect_covariance,
            correlations=effects.correlations,
            rows=rows,
            rules=effects.rules,
            centre=result.estimates.frame["estimate"].to_numpy(),
            error=result.joint,
        )


def _designs(rows: ComponentRows, covariates: Sequence[str]) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Return the designs, shape (D, R, p), every component with columns of its own, and their names."""
    size, parts, terms = len(rows.components), [], []
    for r, (component, formula) in enumerate(zip(rows.components, covariates, strict=True)):
        frame, names = rows.covariates.iloc[r::size], rows.names[r::size]
        on = rows.sampled[:, r]
        design, every = Design.learn(formula, frame, names, on)
        for k in range(len(rows.fits)):
            check_rank(every[on & (rows.fit == k)], design.columns, f" of {component}{rows.where(k)}")
        parts.append(every)
        terms += [(component, column) for column in design.columns]
    X = np.zeros((len(rows.direct), size, len(terms)))
    start = 0
    for r, part in enumerate(parts):
        X[:, r, start : start + part.shape[1]] = part
        start += part.shape[1]
    return X, terms
