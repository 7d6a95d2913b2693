"""The sketch of a survey file: the few records at which each level first occurs, and the file's facts.

What a production must know of a survey before it estimates (columns, levels, periods, releases, design) is
asked of sketches; several files are joined as their sketches are, through the checks of whole surveys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sae.batch.estimate import indicator_of
from sae.batch.production.spec import ProductionFile
from sae.batch.production.surveys import joined
from sae.errors import SaeError
from sae.indicators import Indicator, unchecked_arrays
from sae.survey import Stage, Survey
from sae.tables import labels

__all__ = ["Sketch", "counted_stage", "joined_sketch", "sketched"]

MOST = 1000  # levels that are kept of a column that no row and no indicator is made of


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is known of a survey file without its records.

    Attributes
    ----------
    survey : Survey
        The file's columns, stages, notes and source on the few records.
    records : int
        Of the file.
    answers : mapping of str to tuple of int
        By indicator: records in its universe with a known value, and records that lack the value; without
        the indicators that the file alone does not carry.
    pairs : DataFrame
        Which labels of the columns of levels occur together, as text.
    parts : tuple of Sketch
        Of each file, where there are several.
    """

    survey: Survey
    records: int
    answers: Mapping[str, tuple[int, int]]
    pairs: pd.DataFrame
    parts: tuple[Sketch, ...] = ()

    def answered(self, indicator: str) -> tuple[int, int]:
        """Return the records with a value of an indicator, and those that lack it."""
        return self.answers.get(indicator, (0, self.records))


def sketched(file: ProductionFile, survey: Survey) -> Sketch:
    """Return the sketch of a survey.

    Parameters
    ----------
    file : ProductionFile
        Whose levels, groups and columns of indicators are kept in full.
    survey : Survey
    """
    production = file.production
    levels = [name for name in filter(None, production.levels.values()) if name in survey.frame]
    kept = {*levels, *production.grouping, *([survey.time] if survey.time else [])}
    indicators: dict[str, Indicator] = {}
    for name in production.indicators:
        with suppress(SaeError):
            indicators[name] = indicator_of(file.model_file(name), survey)
    kept |= {column for one in indicators.values() for column in one.variables(survey.frame)}
    places = [_places(survey, name, name in kept) for name in map(str, survey.frame)]
    rows = np.unique(np.concatenate([*places, np.zeros(1, dtype=np.int64)]))
    answers = {}
    for name, indicator in indicators.items():
        try:
            data = unchecked_arrays(indicator, survey)
        except SaeError:
            continue
        answers[name] = (int(data.inside.sum()), int(data.item_missing.sum()))
    pairs = survey.frame[levels].drop_duplicates().apply(labels, keep_missing=True)
    return Sketch(_taken(survey, rows, kept), len(survey), answers, pairs.reset_index(drop=True))


def joined_sketch(sketches: Sequence[Sketch], name: str) -> Sketch:
    """Join the sketches of the files of a survey; refuse files that do not belong together."""
    if len(sketches) == 1:
        return sketches[0]
    survey = joined([one.survey for one in sketches], name)
    names = dict.fromkeys(indicator for one in sketches for indicator in one.answers)
    answers = {}
    for indicator in names:
        inside, lacking = zip(*(one.answered(indicator) for one in sketches), strict=True)
        answers[indicator] = (sum(inside), sum(lacking))
    pairs = pd.concat([one.pairs for one in sketches]).drop_duplicates().reset_index(drop=True)
    return Sketch(survey, sum(one.records for one in sketches), answers, pairs, tuple(sketches))


def _places(survey: Survey, name: str, whole: bool) -> np.ndarray:
    """Return where the levels of a column first occur, among the records that count and among all."""
    column = survey.frame[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy()
    elif whole or not pd.api.types.is_numeric_dtype(column.dtype):
        codes = pd.factorize(column)[0]
    else:
        return _numbers(column)
    some = _firsts(codes, np.arange(len(codes)), whole)
    if survey.mask is None:
        return some
    used = np.flatnonzero(survey.mask)
    return np.concatenate([some, _firsts(codes[used], used, whole)])


def _firsts(codes: np.ndarray, places: np.ndarray, whole: bool) -> np.ndarray:
    first = np.unique(codes, return_index=True)[1]
    return places[first if whole else first[:MOST]]


def _numbers(column: pd.Series) -> np.ndarray:
    """Return where a column of numbers has its first values, and one that is neither 0 nor 1."""
    values = column.to_numpy(dtype=float, na_value=np.nan)
    codes = pd.factorize(values[:MOST])[0]
    first = np.unique(codes, return_index=True)[1]
    other = ~np.isnan(values) & (values != 0.0) & (values != 1.0)
    some = [np.argmax(mask) for mask in (other, np.isnan(values), ~np.isnan(values)) if mask.any()]
    return np.concatenate([first, np.array(some, dtype=np.int64)])


def _taken(survey: Survey, rows: np.ndarray, kept: set[str]) -> Survey:
    frame = survey.frame.iloc[rows].reset_index(drop=True)
    for name in map(str, frame):
        held = frame[name].dtype
        if isinstance(held, pd.CategoricalDtype) and len(held.categories) > MOST and name not in kept:
            frame[name] = frame[name].cat.remove_unused_categories()
    replicates = survey.replicates
    return replace(
        survey,
        frame=frame,
        weights=survey.weights[rows],
        stages=tuple(counted_stage(stage, rows) for stage in survey.stages),
        mask=None if survey.mask is None else survey.mask[rows],
        replicates=None if replicates is None else replace(replicates, weights=replicates.weights[rows]),
    )


def counted_stage(stage: Stage, rows: np.ndarray) -> Stage:
    """Return a stage of a few records; of its labels only their number is kept."""
    return replace(
        stage,
        strata=stage.strata[rows],
        psu=stage.psu[rows],
        fpc=None if stage.fpc is None else stage.fpc[rows],
        strata_labels=np.broadcast_to(np.int64(0), stage.n_strata),
        psu_labels=np.broadcast_to(np.int64(0), stage.n_psu),
        inflation=None if stage.inflation is None else stage.inflation[rows],
    )
