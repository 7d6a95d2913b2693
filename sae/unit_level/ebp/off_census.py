"""A large survey in the place of the population: off-census EB.

A figure of an area is the weighted mean over the records of the large survey of what each is expected to be,
given the sample. Its error has two parts, taken as independent: that of the predictor, from the bootstrap,
whose truth is the same weighted mean of expectations given the replicate's area effects, as the errors of the
units of a real population average out; and that of the large survey as a sample of it
(`sae.unit_level.ebp.sampling`).

The idea is that of Molina, Marín and Acero (2025), arXiv:2510.10812; the form of both parts is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.ebp.indicators import ADDITIVE
from sae.survey import Survey
from sae.tables import to_numbers

__all__ = ["WEIGHT", "LargeSurvey", "refuse_off_census"]

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


def refuse_off_census(indicators: Sequence[str], method: str, mse: str, linked: str | None) -> None:
    """Refuse what needs the whole population.

    Raises
    ------
    SaeSpecError
    """
    others = [name for name in indicators if name not in ADDITIVE]
    hint = (
        "Off-census figures are weighted means over the records of a survey: mean, head_count, gap, severity."
    )
    if others:
        raise SaeSpecError(f"{name_some(others)}: areas= is a survey, not a population.", hint=hint)
    if linked is not None:
        raise SaeSpecError(f"linked={linked!r} has no meaning where areas= is a survey.", hint=hint)
    if method in ("bayes", "ell"):
        raise SaeSpecError(
            f'method="{method}" draws whole populations: areas= is a survey, not a population.',
            hint='Use method="reml".',
        )
    if mse == "wild":
        raise SaeSpecError('mse="wild" has no meaning where areas= is a survey.', hint='Use mse="bootstrap".')
