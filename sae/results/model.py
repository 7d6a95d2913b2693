"""The bases of the two kinds of model: one way to fit, one rule for seeds, one place that warns."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from sae.calls import answered
from sae.errors import SaeConvergenceError, SaeError, SaeSpecError
from sae.numerics.random.streams import seed_of
from sae.progress import shown
from sae.results.messages import few_cases, origin_messages, variance_messages
from sae.results.result import Result
from sae.specs import Specification
from sae.tables import Covariates
from sae.tables.covariates import frame_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from sae.survey import Survey
    from sae.tables import DirectEstimates

__all__ = ["AreaModel", "UnitModel", "no_seed"]

ResultT = TypeVar("ResultT", bound=Result)

# of numerics; bad input is refused before
_FAULTS = (ArithmeticError, LookupError, ValueError, TypeError, np.linalg.LinAlgError)


def no_seed(what: str) -> SaeSpecError:
    """Return the error of a fit that draws random numbers, for `what`, and has no seed."""
    return SaeSpecError(
        f"{what}, which draws random numbers; it has no seed.",
        hint="Call fit(..., seed=1), with any number.",
    )


@dataclass(frozen=True, repr=False)
class _Model(Specification, Generic[ResultT]):
    """A specification that fits: subclasses say what they need a seed for and how they fit."""

    @property
    def _random_step(self) -> str:
        """What in every fit draws random numbers: "The MSE comes from a bootstrap"; empty if nothing does."""
        return ""

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> ResultT:
        """Fit, collecting what is to be said in ``Result.messages``; `fit` says it."""
        raise NotImplementedError

    def _run(
        self,
        fit: Callable[[int | None], ResultT],
        seed: int | np.random.Generator | None,
        areas: Any = None,
    ) -> ResultT:
        """Call `fit` with a seed that is checked; emit what it has to say where `self.fit` was called.

        The origins of `Covariates` go into the provenance of the result.
        """
        if seed is None and self._random_step:
            raise no_seed(self._random_step)
        try:
            with shown():
                result = fit(None if seed is None else seed_of(seed))
        except SaeError:
            raise
        except _FAULTS as error:
            raise SaeError(
                f"{type(self).__name__} ended in a fault of sae itself, {type(error).__name__}: {error}.",
                hint="Please report it, with the formula and, where you may, the data.",
            ) from error
        messages = [*variance_messages(result.residuals, result.data), *few_cases(result.data)]
        if isinstance(areas, Covariates):
            record = {name: origin.record() for name, origin in areas.origins.items()}
            result = replace(result, provenance={**result.provenance, "covariates": record})
            messages += origin_messages(areas.origins, result.data, result.estimates["time"])
        result = result.with_messages(messages)
        for message in result.messages:
            if message.category is not None:
                warnings.warn(message.text, message.category, stacklevel=4)
        return result


class AreaModel(_Model[ResultT]):
    """A model of direct estimates: one row per area."""

    @answered
    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | Covariates | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> ResultT:
        """Fit the model and predict every area, those without a direct estimate included.

        Parameters
        ----------
        data : DirectEstimates or DataFrame
            Direct estimates with their sampling variances, one row per area (and period, component or group
            where the model has them).
        areas : DataFrame or Covariates, optional
            Covariates, joined by name on every grouping column they have; their areas that `data` lacks are
            predicted too. The origins of `Covariates` stand in the provenance and in the summary.
        seed : int or Generator, optional
            Of what is random in the fit: bootstraps, chains, importance points. Refused where it is needed
            and missing; `Result.draws` takes its own.

        Returns
        -------
        Result

        Raises
        ------
        SaeInputError
            If a column, an estimate, a variance or a covariate cannot be used, or there are too few areas for
            the coefficients; the areas or columns are named.
        SaeSpecError
            If a step is random and there is no seed.
        SaeConvergenceError
            If the fit ends without an answer that can be trusted.

        Warns
        -----
        SaeWarning
            Of a variance estimated 0, covariates outside the range of the fit or nearly collinear, intervals
            that cannot be given. The same sentences stand in ``Result.messages`` and in the summary.
        """
        return self._run(lambda number: self._fit(data, frame_of(areas), number), seed, areas)

    @property
    def wants_covariance(self) -> bool:
        """Whether the model uses the covariances between direct estimates."""
        return False

    @answered
    def fit_each(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | Covariates | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> tuple[ResultT | None, dict[tuple[Any, ...], SaeError]]:
        """Fit all that can be had, and say why the rest cannot: one bad group of a batch costs no other.

        Parameters
        ----------
        data, areas, seed
            As of `fit`.

        Returns
        -------
        result : Result or None
            Of the fits that can be had.
        refused : dict of tuple to SaeError
            By the labels of each fit that cannot; ``()`` where the model has one fit, which did not converge.

        Raises
        ------
        SaeInputError, SaeSpecError
            If the data cannot be used, or no fit can be had.
        """
        try:
            return self.fit(data, areas=areas, seed=seed), {}
        except SaeConvergenceError as error:
            return None, {(): error}


class UnitModel(_Model[ResultT]):
    """A model of units: one row per person, household or plot."""

    def _fit(
        self, data: pd.DataFrame | Survey, areas: pd.DataFrame | str | Path | None, seed: int | None
    ) -> ResultT:
        raise NotImplementedError

    @answered
    def fit(
        self,
        data: pd.DataFrame | Survey,
        *,
        areas: pd.DataFrame | Covariates | str | Path | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> ResultT:
        """Fit the model and predict every area of the population, those without a unit included.

        Parameters
        ----------
        data : DataFrame or Survey
            One row per unit. Of a survey only the records of its subset are used. A model that is not told a
            column of weights does not use them, and is right where the design tells nothing of the outcome
            beyond the covariates.
        areas : DataFrame, Covariates, str or Path, optional
            The population: means of the covariates, one row per area; or a census of units or cells, with the
            covariates of the formula. See the model. Or the path of a Parquet file, or a folder of them, with
            such rows, of which only the columns that the model uses are read.
        seed : int or Generator, optional
            Of what is random in the fit. Refused where it is needed and missing; `Result.draws` takes its
            own.

        Returns
        -------
        Result
            ``direct`` is the plain mean or share of an area's units, ``direct_se`` its standard error under
            simple random sampling.

        Raises
        ------
        SaeInputError
            If an area, a mean, a level or a size is missing, or the units cannot tell the model; named.
        SaeSpecError
            If a step is random and there is no seed.
        SaeConvergenceError
            If the fit ends without an answer that can be trusted.

        Warns
        -----
        SaeWarning
            As an area-level model.
        """
        return self._run(lambda number: self._fit(data, frame_of(areas), number), seed, areas)
