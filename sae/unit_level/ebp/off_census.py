"""A large survey in the place of the population: off-census EB.

A figure of an area is the weighted mean over the records of the large survey of what each is expected to be,
given the sample. Its error has two parts, taken as independent: that of the predictor, from the bootstrap,
whose truth is the same weighted mean of expectations given the replicate's area effects, as the errors of the
units of a real population average out; and that of the large survey as a sample of it
(`sae.unit_level.ebp.sampling`).

What is no mean (quantiles, quintile share, Gini, functions) is simulated: every record stands for several
units with errors of their own, which share its weight, so that a figure is that of many persons and not of
few records. The truth of a replicate has more units still.

The idea is that of Molina, Marín and Acero (2025), arXiv:2510.10812; the form of both parts is our own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Population
from sae.survey import Survey
from sae.tables import to_numbers

__all__ = ["SIMULATED", "TRUE", "WEIGHT", "LargeSurvey", "expanded", "refuse_off_census"]

SIMULATED, TRUE = 1_000, 10_000  # units of an area: a Gini of m units is 1 / m of itself too low

WEIGHT = "weight of the survey in place of the population"


@dataclass(frozen=True, eq=False)
class LargeSurvey:
    """Records of a survey that stand for the population.

    Attributes
    ----------
    survey : Survey
    inside : ndarray of int, shape (N,)
        Records of its subset with a weight, in the order of the file.
    persons : ndarray of float, shape (N,)
        What each record counts for beside its weight, such as the size of a household.
    """

    survey: Survey
    inside: np.ndarray
    persons: np.ndarray

    @classmethod
    def of(cls, survey: Survey, column: str | None) -> LargeSurvey:
        """Take the records of the subset; `column` says what each counts for.

        Raises
        ------
        SaeInputError
            If nobody is in it, or the column cannot be used.
        """
        weights = np.asarray(survey.weights, dtype=float)
        use = weights > 0.0 if survey.mask is None else np.asarray(survey.mask) & (weights > 0.0)
        inside = np.flatnonzero(use)
        if not len(inside):
            raise SaeInputError("The survey in place of the population has no record with a weight.")
        persons = np.ones(len(inside))
        if column is not None:
            persons = to_numbers(survey.frame.iloc[inside], column)
        return cls(survey, inside, persons)

    @property
    def frame(self) -> pd.DataFrame:
        """The records with their weights in the column `WEIGHT`."""
        weights = np.asarray(self.survey.weights, dtype=float)[self.inside]
        records = self.survey.frame.iloc[self.inside].reset_index(drop=True)
        return records.assign(**{WEIGHT: weights * self.persons})


def expanded(population: Population, least: int) -> Population:
    """Return a population whose records stand for several units each, `least` in every area.

    An area has no more of them than it has persons, but every record is one unit.
    """
    assert population.weight is not None
    persons = np.add.reduceat(np.append(population.weight, 0.0), population.offsets[:-1])
    goal = np.minimum(np.where(population.sizes > 0, persons, 0.0), least)
    each = np.ceil(goal / np.maximum(population.sizes, 1)).astype(np.int64)
    count = np.repeat(np.maximum(each, 1), population.sizes)
    return replace(population, count=count, weight=population.weight / count)


def refuse_off_census(
    survey: Survey,
    indicators: Indicators,
    method: str,
    mse: str,
    linked: str | None,
    clusters: str | None = None,
) -> None:
    """Refuse what needs the whole population, and functions whose sampling error cannot be linearised.

    Raises
    ------
    SaeSpecError
    """
    hint = "Off-census figures are those of the records of a survey, by their weights."
    if indicators.functions and survey.replicates is None and mse != "none":
        raise SaeSpecError(
            f"{name_some(indicators.functions)}: the sampling error of a function of one's own needs the "
            "replicate weights of the survey in areas=, which has none.",
            hint='Give it replicate weights: survey.bootstrap(...); or ask for mse="none".',
        )
    if linked is not None:
        raise SaeSpecError(f"linked={linked!r} has no meaning where areas= is a survey.", hint=hint)
    if clusters is not None:
        raise SaeSpecError(f"clusters={clusters!r} is not done where areas= is a survey.", hint=hint)
    if method in ("bayes", "ell"):
        raise SaeSpecError(
            f'method="{method}" draws whole populations: areas= is a survey, not a population.',
            hint='Use method="reml".',
        )
    if mse == "wild":
        raise SaeSpecError('mse="wild" has no meaning where areas= is a survey.', hint='Use mse="bootstrap".')
