"""What models with area effects under a likelihood that is not normal share: options, reading, fitting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sae.area_level.arrays import design_of
from sae.area_level.glmm.bayes import fit_area_effects
from sae.area_level.reading import read_rows
from sae.area_level.rows import AreaRows
from sae.errors import SaeInputError, name_some
from sae.numerics.glmm.likelihoods import Likelihood
from sae.numerics.inference.transforms import Transform
from sae.results import AreaModel, FittedData, Result, RunRecord, posterior_result, run_id
from sae.samplers.grid import GridPosterior
from sae.specs import split_formula
from sae.specs.design import check_rank
from sae.specs.priors import Prior, prior_of
from sae.tables import DirectEstimates, cv_of, pandas_frame, require
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

    def data(self, X: np.ndarray, columns: tuple[str, ...], names: Texts) -> FittedData:
        """Return what is fitted, with the designs of all rows, shape (n_rows, p)."""
        vardir = np.broadcast_to(self.vardir, self.direct.shape)
        return FittedData.of_areas(self.direct, vardir, X, columns, self.sampled, names)


@dataclass(frozen=True, repr=False)
class AreaEffects(AreaModel[Result]):
    """The options that all these models have; see the models."""

    prior: Prior | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        prior_of(self.prior)

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
        return (
            f"{self._title}: models {outcome} by {covariates} and an area effect; posterior by quadrature, "
            f"{prior_of(self.prior).text} prior"
        )

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        outcome, covariates = split_formula(self.formula)
        vardir, n_eff = self._columns
        if not isinstance(data, DirectEstimates):
            data = pandas_frame(data, "The data")
            require(data, [vardir or n_eff])
        rows = read_rows(
            data,
            areas,
            outcome=outcome,
            domain=self.domain,
            vardir=vardir or "vardir",
            n_eff=n_eff or "n_eff",
            per=(),
        )
        observed = self._observed(rows)
        sampled, names = observed.sampled, rows.names
        design, X = design_of(replace(rows, sampled=sampled), covariates)
        check_rank(X[sampled], design.columns)
        fitted = observed.data(X, design.columns, names)
        figures = [value for value in vars(observed.likelihood).values() if isinstance(value, np.ndarray)]
        texts: tuple[str | Texts, ...] = (*design.columns, rows.labels)
        run = run_id(self, seed, texts, (fitted.X, sampled, *figures))
        posterior = fit_area_effects(
            observed.likelihood,
            fitted,
            link=observed.link,
            ends=observed.ends,
            labels=rows.labels,
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
