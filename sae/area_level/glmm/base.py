"""What models with area effects under a likelihood that is not normal share: options, reading, fitting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sae.area_level.arrays import design_of
from sae.area_level.glmm.bayes import arrays_of, fit_area_effects
from sae.area_level.reading import read_rows
from sae.area_level.rows import AreaRows, checked, each_fit, fit_kept
from sae.errors import SaeError, SaeInputError, name_some
from sae.numerics.glmm.likelihoods import Likelihood
from sae.numerics.inference.transforms import Transform
from sae.results import AreaModel, FittedData, Result, RunRecord, posterior_result, run_id
from sae.samplers.grid import GridPosterior
from sae.specs import split_formula
from sae.specs.design import check_rank
from sae.specs.priors import Prior, prior_of
from sae.tables import Covariates, DirectEstimates, cv_of, pandas_frame, require
from sae.tables.covariates import frame_of
from sae.tables.texts import Texts

__all__ = ["AreaEffects", "Observed", "refuse_values"]


class Observed(NamedTuple):
    """What a model takes from the rows.

    Attributes
    ----------
    likelihood : Likelihood
        Of the sampled rows.
    direct : ndarray of float, shape (n_rows,)
        Direct estimates on the reported scale; nan without a sample.
    sampled : ndarray of bool, shape (n_rows,)
    link : Transform
    ends : ndarray of int, shape (n_sampled,)
        -1 and 1 where the likelihood is largest at the lower or upper end of the scale, else 0.
    vardir : ndarray of float, shape (n_rows,), or float
        Sampling variances of `direct`, where the data have them.
    coefficient_sd : float
        Of the prior of the coefficients on centred and scaled columns; infinite is flat.
    more : tuple of str
        Further priors, as texts.
    """

    likelihood: Likelihood
    direct: np.ndarray
    sampled: np.ndarray
    link: Transform
    ends: np.ndarray
    vardir: np.ndarray | float = np.nan
    coefficient_sd: float = np.inf
    more: tuple[str, ...] = ()

    def data(self, X: np.ndarray, columns: tuple[str, ...], rows: AreaRows) -> FittedData:
        """Return what is fitted, with the designs of all rows, shape (n_rows, p)."""
        vardir = np.broadcast_to(self.vardir, self.direct.shape)
        return FittedData.of_areas(self.direct, vardir, X, columns, self.sampled, rows.names, fit=rows.fit)


@dataclass(frozen=True, repr=False)
class AreaEffects(AreaModel[Result]):
    """The options that all these models have; see the models."""

    prior: Prior | str | None = None
    per: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        prior_of(self.prior)
        object.__setattr__(self, "per", (self.per,) if isinstance(self.per, str) else tuple(self.per))

    @property
    def _title(self) -> str:
        raise NotImplementedError

    @property
    def _columns(self) -> tuple[str, str]:
        """Columns that `read_rows` takes for sampling variances and effective sample sizes."""
        raise NotImplementedError

    def _observed(self, rows: AreaRows) -> Observed:
        raise NotImplementedError

    @property
    def _posterior(self) -> Callable[..., GridPosterior]:
        return GridPosterior

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{self._title}, Bayes: {self.formula}"

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        fits = f", one fit per {' × '.join(self.per)}" if self.per else ""
        return (
            f"{self._title}: models {outcome} by {covariates} and an area effect; posterior by quadrature, "
            f"{prior_of(self.prior).text} prior{fits}"
        )

    def fit_each(
        self,
        data: Any,
        *,
        areas: pd.DataFrame | Covariates | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> tuple[Result | None, dict[tuple[Any, ...], SaeError]]:
        """Fit every value of ``per`` that can be had: see `AreaModel.fit_each`."""
        if not self.per:
            return super().fit_each(data, areas=areas, seed=seed)
        return fit_kept(
            self._rows(data, frame_of(areas)),
            lambda rows: self._run(lambda number: self._fit_rows(rows, number), seed, areas),
        )

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        return self._fit_rows(self._rows(data, areas), seed)

    def _rows(self, data: Any, areas: pd.DataFrame | None) -> AreaRows:
        vardir, n_eff = self._columns
        if not isinstance(data, DirectEstimates):
            data = pandas_frame(data, "The data")
            require(data, [vardir or n_eff])
        return read_rows(
            data,
            areas,
            outcome=split_formula(self.formula)[0],
            domain=self.domain,
            vardir=vardir or "vardir",
            n_eff=n_eff or "n_eff",
            per=self.per,
        )

    def _fit_rows(self, rows: AreaRows, seed: int | None) -> Result:
        covariates = split_formula(self.formula)[1]
        observed = checked(rows, self._observed)
        sampled = observed.sampled
        design, X = checked(replace(rows, sampled=sampled), lambda some: design_of(some, covariates))

        def full_rank(fit: int) -> None:
            inside = sampled & (rows.fit == fit)
            if not inside.any():
                raise SaeInputError(f"No area has a sample{rows.where(fit)}.", column="direct")
            check_rank(X[inside], design.columns, rows.where(fit))

        each_fit(len(rows.fits), full_rank)
        fitted = observed.data(X, design.columns, rows)
        figures = [value for _, value in arrays_of(observed.likelihood)]
        texts: tuple[str | Texts, ...] = (*design.columns, rows.labels)
        fits = (rows.fit,) if self.per else ()
        run = run_id(self, seed, texts, (fitted.X, sampled, *figures, *fits))
        posterior = fit_area_effects(
            observed.likelihood,
            fitted,
            rows,
            link=observed.link,
            ends=observed.ends,
            prior=self.prior,
            coefficient_sd=observed.coefficient_sd,
            more_priors=observed.more,
            level=self.level,
            posterior_class=self._posterior,
        )
        cv = cv_of(rows.columns["direct_se"], observed.direct)
        rows = replace(rows, columns={**rows.columns, "direct": observed.direct, "direct_cv": cv})
        record = RunRecord(f"{self._title} (Bayes)", "posterior mean", run, seed)
        return posterior_result(self, rows, fitted, posterior, record)


def refuse_values(
    rows: AreaRows, bad: np.ndarray, values: np.ndarray, what: str, hint: str, column: str
) -> None:
    """Refuse rows by name, each with its value."""
    if not bad.any():
        return
    texts = [f"{name} ({value:g})" for name, value in zip(rows.names[bad], values[bad], strict=True)]
    raise SaeInputError(
        f"{what} in {int(bad.sum())} of {len(bad)} areas: {name_some(texts)}.",
        hint=hint,
        areas=rows.names[bad],
        column=column,
    )
