"""The universe of an indicator holds for the population too: a model's figures are those of its persons."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.batch.estimate import indicator_of
from sae.batch.population import benchmark_columns, wanted_columns
from sae.batch.spec import ModelFile
from sae.errors import SaeInputError, SaeWarning, name_some
from sae.survey import Survey
from sae.survey.expressions import evaluate, names_in
from sae.tables import labels
from sae.tables.block_files import open_records
from sae.tables.parquet_blocks import ParquetRecords

__all__ = ["inside_universe", "universe_columns"]

_MOST = 20_000_000  # rows of a file that are kept in memory


def universe_columns(spec: ModelFile, survey: Survey) -> list[str]:
    """Return the columns that the universe names, and that of the period."""
    universe = indicator_of(spec, survey).universe
    names = list(names_in(universe)) if universe else []
    return list(dict.fromkeys([*names, *([survey.time] if survey.time else [])]))


def inside_universe(
    spec: ModelFile, survey: Survey, population: pd.DataFrame | Path | ParquetRecords | Survey
) -> pd.DataFrame | Path | ParquetRecords | Survey:
    """Return the rows of the population that are in the universe; a file as it lies where all of it is.

    A condition on columns that the population lacks is taken to hold for all of it, with a warning. A survey
    in the place of the population keeps its design, as a subset.

    Raises
    ------
    SaeInputError
        If nobody is in the universe, it cannot be known who is, the rows are of several periods, or too many
        would have to be kept.
    """
    universe = indicator_of(spec, survey).universe
    if isinstance(population, Survey):
        for one in _known(universe, population.frame.columns):
            population = population.subset(one)
        return population
    records = population if isinstance(population, ParquetRecords) else open_records(population)
    known = _known(universe, records.columns)
    time = survey.time if survey.time in records.columns else None
    used = dict.fromkeys([name for one in known for name in names_in(one)] + ([time] if time else []))
    if not used:
        return population
    keep: list[np.ndarray] = []
    periods: dict[str, None] = {}
    for block in records.blocks(list(used)):
        keep.append(_holds(known, block, survey))
        if time:
            periods |= dict.fromkeys(labels(block[time][keep[-1]].drop_duplicates()))
    if len(periods) > 1:
        raise SaeInputError(
            f"The population is of {len(periods)} periods, {name_some(periods)} ({time}): each person would "
            "count in every one.",
            hint=f"Choose one in [estimate] universe, {time} == {[*periods][-1]}, or take the others out.",
            column=time,
        )
    left, total = sum(int(one.sum()) for one in keep), sum(map(len, keep))
    if left == total:
        return population
    what = f"{left:,} of {total:,} rows of the population are in the universe ({' and '.join(known)})"
    if not 0 < left <= _MOST:
        raise SaeInputError(
            f"{what}{', more than are kept in memory' if left else ''}.",
            hint="Write them to a file of their own." if left else "Check the codes of its columns.",
        )
    covariates, others = wanted_columns(spec)
    clusters = spec.model.options.get("clusters") if spec.model else None
    wanted = dict.fromkeys([*others, *covariates, *benchmark_columns(spec), clusters])
    columns = [name for name in wanted if name in records.columns]
    kept = zip(records.blocks(columns), keep, strict=True)
    return pd.concat([block[rows] for block, rows in kept], ignore_index=True)


def _known(universe: str | None, columns: Collection[str]) -> list[str]:
    """Return the conditions that a population can be asked for, and warn of the others."""
    conditions = _conditions(universe) if universe else []
    known = [one for one in conditions if {*names_in(one)} <= {*columns}]
    for one in (one for one in conditions if one not in known):
        lost = [name for name in names_in(one) if name not in columns]
        warnings.warn(
            f"The population has no column {name_some(lost)}: all of its rows are taken to be in the "
            f"universe ({one}).",
            SaeWarning,
            stacklevel=3,
        )
    return known


def _conditions(universe: str) -> list[str]:
    """Return what must hold, each condition by itself."""

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
            for one in node.values:
                yield from walk(one)
        else:
            yield ast.unparse(node)

    return list(walk(ast.parse(universe.strip(), mode="eval").body))


def _holds(conditions: Sequence[str], block: pd.DataFrame, survey: Survey) -> np.ndarray:
    """Return which rows are in the universe; texts are compared by the levels of the survey and their own."""
    frame = block.reset_index(drop=True)
    for name in frame:
        if not pd.api.types.is_numeric_dtype(survey.frame[name].dtype):
            texts = labels(frame[name], keep_missing=True)
            levels = {*labels(survey.frame[name].drop_duplicates().dropna()), *texts.dropna().unique()}
            frame[name] = pd.Categorical(texts, categories=sorted(levels))
    keep = np.ones(len(frame), dtype=bool)
    for one in conditions:
        done = evaluate(one, frame)
        if done.missing.any():
            raise SaeInputError(
                f"{name_some(names_in(one))} is missing in {int(done.missing.sum()):,} rows of the "
                f"population: whether they are in the universe ({one}) is not known.",
                hint="Fill the values in, or take the rows out.",
            )
        keep &= np.asarray(done.values, dtype=bool)
    return keep
