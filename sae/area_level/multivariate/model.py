"""The multivariate Fay–Herriot model: several direct estimates of each area, joined by correlated effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from sae.area_level.multivariate.bayes import check_multivariate_bayes, fit_multivariate_bayes
from sae.area_level.multivariate.eblup import solve
from sae.area_level.multivariate.result import MultivariateResult
from sae.area_level.multivariate.rows import ComponentRows, read_components
from sae.errors import SaeSpecError, name_some
from sae.numerics.multivariate.covariances import STRUCTURES
from sae.numerics.random.streams import seed_of
from sae.specs import Design, Specification, one_of, split_formula
from sae.specs.design import check_rank
from sae.specs.priors import Prior

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["MultivariateFayHerriot"]

_STRUCTURE_WORDS = {
    "diagonal": "independent effects",
    "common": "independent effects of one variance",
    "ar1": "AR(1) effects",
    "har1": "heteroscedastic AR(1) effects",
    "unstructured": "correlated effects",
}
_METHODS = ("reml", "ml", "bayes")


@dataclass(frozen=True, repr=False)
class MultivariateFayHerriot(Specification):
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
    replicates : int
        Of the bootstrap.
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
    >>> spec = MultivariateFayHerriot(["native ~ x", "foreign ~ x"], domain="area",
    ...                               vardir={"native": "v_n", "foreign": "v_f", ("native", "foreign"): 0})
    >>> gap = spec.fit(frame).contrast({"foreign": 1, "native": -1}, name="gap")
    >>> gap[["domain", "estimate"]].round(1).tail(1).values.tolist()  # H has no foreign-born sample
    [['H', -1.1]]
    """

    kind: ClassVar[str] = "multivariate_fay_herriot"

    formula: str | Sequence[str]
    components: str = ""
    domain: str = "domain"
    vardir: Mapping[Any, Any] | Sequence[tuple[Any, ...]] = ()
    structure: str = "unstructured"
    method: str = "reml"
    mse: str = "auto"
    level: float = 0.95
    replicates: int = 200
    per: str | Sequence[str] = ()
    population: str = ""
    prior: Prior | str | None = None

    def __post_init__(self) -> None:
        formulas = (self.formula,) if isinstance(self.formula, str) else tuple(self.formula)
        object.__setattr__(self, "formula", formulas)
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
        one_of("structure", self.structure, list(STRUCTURES))
        one_of("method", self.method, _METHODS)
        one_of("mse", self.mse, ("auto", "analytical", "bootstrap"))
        check_multivariate_bayes(self)
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")

    @property
    def words(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        split = f" by {self.components}" if self.components else ""
        head = f"multivariate Fay–Herriot, {self.structure}, {self.method.upper()}"
        return f"{head}: {'; '.join(self.formula)}{split}"

    def _words(self) -> str:
        outcomes = ", ".join(split_formula(formula)[0] for formula in self.formula)
        split = f" by {self.components}" if self.components else ""
        fits = f", one fit per {' × '.join(self.per)}" if self.per else ""
        return (
            f"models {outcomes}{split} together, with {self.effects}; "
            f"{self.method.upper()}{fits}; MSE: {self.mse_words}"
        )

    @property
    def effects(self) -> str:
        """The structure of the effects in words."""
        return _STRUCTURE_WORDS[self.structure]

    @property
    def mse_words(self) -> str:
        """Where the MSE comes from, as it stands in the estimate table."""
        if self.method == "bayes":
            return "posterior variance"
        words = "analytical, Benavent–Morales"
        if self.mse == "bootstrap":
            words = f"parametric bootstrap, {self.replicates} replicates"
        return f"{words}, finite population" if self.population else words

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        covariance: Mapping[Any, pd.DataFrame] | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> MultivariateResult:
        """Fit the model and predict every component of every area, with or without a direct estimate.

        Parameters
        ----------
        data : DirectEstimates or DataFrame
            Direct estimates with their covariances; a frame has one row per area (and value of `per`).
        areas : DataFrame, optional
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
        if self.mse == "bootstrap" and seed is None:
            raise SaeSpecError(
                "The MSE comes from a parametric bootstrap, which draws random numbers; it has no seed.",
                hint="Call fit(..., seed=1), with any number.",
            )
        outcomes, covariates = zip(*map(split_formula, self.formula), strict=True)
        rows = read_components(
            data,
            areas,
            outcomes=outcomes,
            split=self.components,
            domain=self.domain,
            vardir=tuple(self.vardir),
            per=self.per,
            covariance=covariance,
        )
        X, terms = _designs(rows, covariates * (1 if len(covariates) > 1 else len(rows.components)))
        if self.method == "bayes":
            return fit_multivariate_bayes(self, rows, X, terms, None if seed is None else seed_of(seed))
        return solve(self, rows, X, terms, None if seed is None else seed_of(seed))


def _designs(rows: ComponentRows, covariates: Sequence[str]) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Return the designs, shape (D, R, p), every component with columns of its own, and their names."""
    size, parts, terms = len(rows.components), [], []
    for r, (component, formula) in enumerate(zip(rows.components, covariates, strict=True)):
        frame, names = rows.covariates.iloc[r::size], rows.names[r::size]
        seen = rows.sampled[:, r]
        design, learnt = Design.learn(formula, frame[seen], list(names[seen]))
        for k in range(len(rows.fits)):
            check_rank(learnt[rows.fit[seen] == k], design.columns, f" of {component}{rows.where(k)}")
        parts.append(design.rebuild(frame, list(names)))
        terms += [(component, column) for column in design.columns]
    X = np.zeros((len(rows.direct), size, len(terms)))
    start = 0
    for r, part in enumerate(parts):
        X[:, r, start : start + part.shape[1]] = part
        start += part.shape[1]
    return X, terms
