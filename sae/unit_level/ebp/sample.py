"""The sample of an EBP: welfare, the threshold, and what the units alone say of the figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.numerics.design.quantiles import weighted_quantile
from sae.numerics.ebp.clusters import SampleClusters
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.population import Level, Population
from sae.numerics.ebp.simulation import evaluate
from sae.numerics.ebp.units import SampleUnits
from sae.results import Message, run_id
from sae.specs import Design, Specification
from sae.survey import Survey
from sae.tables import labels, require, to_numbers
from sae.unit_level.ebp.clusters import place_clusters, sample_clusters
from sae.unit_level.ebp.off_census import WEIGHT, LargeSurvey
from sae.unit_level.ebp.people import People, PeopleColumns, build_people
from sae.unit_level.ebp.reading import read_people
from sae.unit_level.nested_error.arrays import UnitArrays, refuse_dominant
from sae.unit_level.nested_error.population import PopulationTable
from sae.unit_level.rows import RowNames, read_units, refuse_missing, refuse_missing_covariates

__all__ = ["EbpArrays", "poverty_line", "share_of_median"]

_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*of\s*(?:the\s+)?median\s*")
_LEAST = 0.01  # of the median of what is positive: where a chosen shift puts the least welfare


def share_of_median(threshold: Any) -> float | None:
    """Return the share that "60% of the median" names, None of anything else.

    Examples
    --------
    >>> share_of_median("60% of the median"), share_of_median(9000.0)
    (0.6, None)
    """
    match = _SHARE.fullmatch(threshold) if isinstance(threshold, str) else None
    return float(match[1]) / 100.0 if match else None


@dataclass(frozen=True, eq=False)
class EbpArrays:
    """Units of a sample and the population whose welfare is predicted.

    Attributes
    ----------
    y : ndarray of float, shape (n,)
        Welfare, in the order of `units`.
    weights : ndarray of float, shape (n,), or None
        Survey weights, in that order.
    units : SampleUnits
    design : Design
    people : People
    group : ndarray of int, shape (n,), or None
        Group of each unit, where the sample has the column.
    clusters : SampleClusters or None
        Of the units, where those of one share an effect.
    large : LargeSurvey or None
        The survey in the place of the population.
    persons : ndarray of float, shape (n,), or None
        What each unit counts for, where the sample has the population's column of it.
    weighted : bool
        Whether the fit leans on the weights: a survey's own serve the threshold alone.
    """

    y: np.ndarray
    weights: np.ndarray | None
    units: SampleUnits
    design: Design
    people: People
    group: np.ndarray | None
    weighted: bool = False
    large: LargeSurvey | None = None
    clusters: SampleClusters | None = None
    persons: np.ndarray | None = None

    @classmethod
    def build(
        cls,
        data: pd.DataFrame | Survey,
        areas: pd.DataFrame | Survey | str | Path | None,
        *,
        outcome: str,
        covariates: str,
        columns: PeopleColumns,
        weights: str | None,
        held: tuple[str, str] | None = None,
    ) -> EbpArrays:
        """Check sample and population and bring them together by name; `held` as of `cells.read_cells`.

        Raises
        ------
        SaeInputError
            If a column, level, area or link is unknown, or a value missing; names are given.
        """
        units = read_units(data)
        require(units, [outcome, columns.domain], "The units have")
        y = to_numbers(units, outcome, hint="An EBP is one of a number per unit, such as an income.")
        bad = np.flatnonzero(~np.isfinite(y))
        if len(bad):
            raise SaeInputError(
                f"{outcome} is missing or infinite in {len(bad)} of {len(units)} units: "
                f"row {name_some(bad + 1)}.",
                hint="Take the units out that did not answer, or impute them.",
                column=outcome,
            )
        refuse_missing(units, columns.domain)
        refuse_missing_covariates(units, covariates)
        persons = _persons(units, columns.weight)
        large = None
        if isinstance(areas, Survey):
            large = LargeSurvey.of(areas, columns.weight)
            areas, columns = large.frame, replace(columns, weight=WEIGHT)
        read = read_people(areas, covariates, columns, held)
        design, X = Design.learn(covariates, units, RowNames(len(units)))
        cluster = None
        if isinstance(read, tuple):
            frame, count = read
            people, area = build_people(frame, units, design, columns, count)
            if columns.clusters is not None:
                people, cluster = place_clusters(people, frame, units, area, columns)
        else:
            from sae.unit_level.ebp.streamed import stream_people

            people, area = stream_people(read, units, design, columns)
        sample = SampleUnits.of(X, area, len(people.names), cluster)
        clusters = None if cluster is None else sample_clusters(sample, cluster[sample.order])
        order, population = sample.order, people.population
        if isinstance(population, Population) and population.linked is not None:
            place = np.empty(len(order), dtype=np.int64)
            place[order] = np.arange(len(order))
            linked = np.where(population.linked >= 0, place[population.linked], -1)
            population = replace(population, linked=linked).knowing(y[order])
            people = replace(people, population=population)
        if large is not None:
            known = people.frame.assign(population=people.persons)
            people = replace(people, frame=known)
        own = _weights(units, data, weights)
        group = None
        if columns.groups is not None and columns.groups in units:
            group = _group_codes(units[columns.groups], people.groups, columns.groups)[order]
        own = None if own is None else own[order]
        persons = None if persons is None else persons[order]
        return cls(
            y[order], own, sample, design, people, group, weights is not None, large, clusters, persons
        )

    @property
    def names(self) -> np.ndarray:
        """Names of all areas, shape (D,)."""
        return self.people.names

    @property
    def sampled_population(self) -> Population:
        """The units of the sample as a population of their own; without the column, they are in no group."""
        offsets = np.concatenate([[0], np.cumsum(self.units.n)])
        groups = len(self.people.groups)
        weight = self.weights if self.weighted else None
        group = np.full(len(self.y), -1) if groups and self.group is None else self.group
        return Population(self.units.X, offsets, weight, group, groups)

    def direct(self, indicators: Indicators, level: Level) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the units alone say: figures and standard errors, (S, 1 + G, K), and units, (S, 1 + G).

        Standard errors are those of simple random sampling, or with weights of a ratio under sampling with
        replacement, of means only; of clusters where there are any. Groups that the sample does not know have
        no units.
        """
        groups, sample = len(self.people.groups), self.sampled_population
        n = np.zeros((level.size, 1 + groups))
        np.add.at(n[:, 0], level.part[self.units.area], 1)
        if self.group is not None:
            np.add.at(n, (level.part[self.units.area], 1 + self.group), 1)
        z = indicators.threshold
        short = np.maximum(1.0 - self.y / z, 0.0)
        scores = {
            "mean": self.y,
            "head_count": (self.y < z).astype(float),
            "gap": short,
            "severity": short**2,
        }
        figures = evaluate(sample, self.y, indicators, level)
        se = np.full(figures.shape, np.nan)
        for k, name in enumerate(indicators.names):
            if name in ADDITIVE:
                with np.errstate(invalid="ignore", divide="ignore"):
                    variance, drawn = self._variance(sample, scores[name], level)
                    variance = variance * drawn / (drawn - 1.0)
                se[:, :, k] = np.where(drawn > 1, np.sqrt(variance), np.nan)
        return figures, se, n

    def _variance(self, sample: Population, score: np.ndarray, level: Level) -> tuple[np.ndarray, np.ndarray]:
        """Return Σ (Σ w (s - s̄))² / (Σ w)² over the units, or clusters, of each part and group, (S, 1 + G).

        And how many they are.
        """
        one = Indicators(("mean",))
        w = np.ones(len(score)) if sample.weight is None else sample.weight
        mean = evaluate(sample, score, one, level)[:, :, 0]
        size, square, drawn = (np.zeros(mean.shape) for _ in range(3))
        columns = [np.zeros(len(score), dtype=int)]
        if sample.group is not None:
            columns.append(np.where(sample.group >= 0, 1 + sample.group, -1))
        part = level.part[self.units.area]
        for column in columns:
            keep = column >= 0
            place = part[keep], column[keep]
            residual = w[keep] * (score[keep] - mean[place])
            np.add.at(size, place, w[keep])
            if self.clusters is not None:
                cell = np.ravel_multi_index(
                    (*place, self.clusters.units.area[keep]), (*mean.shape, len(score))
                )
                _, first, one_of = np.unique(cell, return_index=True, return_inverse=True)
                residual = np.bincount(one_of, residual)
                place = place[0][first], place[1][first]
            np.add.at(square, place, residual**2)
            np.add.at(drawn, place, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return square / size**2, drawn

    def run_id(self, spec: Specification, seed: int | None) -> str:
        """Return the digest of a run on these units and this population."""
        population = self.people.population
        parts: list[np.ndarray | None]
        if isinstance(population, Population):
            rows = [population.X, population.offsets]
            parts = [population.weight, population.group, population.linked, population.count]
        else:
            rows, parts = [population.units, population.persons], [self.people.digest]
        more = [one for one in (self.weights, *parts) if one is not None]
        texts = (*self.design.columns, *self.names, *self.people.groups)
        if self.clusters is not None:
            more.append(self.clusters.units.area)
        if isinstance(population, Population) and population.clusters is not None:
            more += [population.clusters.offsets, population.clusters.sampled]
        return run_id(spec, seed, texts, (self.y, self.units.X, self.units.area, *rows, *more))

    def refuse(self, error: ValueError, prior: str = "") -> NoReturn:
        """Say by name why the units cannot tell the model, as a kernel found.

        Raises
        ------
        SaeInputError
        """
        missing = np.full(len(self.names), np.inf)
        areas = PopulationTable(self.names, self.units.design.x_mean, missing, pd.DataFrame())
        UnitArrays(self.y, self.units.X, self.units.area, self.design, areas).refuse(error, prior)

    def shift(self, name: str, outcome: str, given: float | None) -> tuple[float, list[Message]]:
        """Return the constant that is added before a transformation, and what is to be said of it.

        Raises
        ------
        SaeInputError
            If a logarithm meets welfare that is not positive, or the shift that was given leaves some.
        """
        least = float(self.y.min())
        if name in ("none", "log-shift") or least + (given or 0.0) > 0.0:
            return given or 0.0, []
        low = int((self.y + (given or 0.0) <= 0.0).sum())
        what = f"{outcome} is 0 or negative in {low} of {len(self.y)} units"
        if given is not None:
            raise SaeInputError(
                f"{what} after shift = {given:g} (least value {least:g}).",
                hint=f"A shift above {-least:g} is needed.",
                column=outcome,
            )
        if name == "log":
            raise SaeInputError(
                f"{what}, which has no logarithm (least value {least:g}).",
                hint='Use transform="log-shift", whose shift is estimated, "box-cox" or "dual-power", for '
                "which one is chosen, or give shift=.",
                column=outcome,
            )
        chosen = (
            _LEAST * float(np.median(self.y[self.y > 0.0])) - least if (self.y > 0.0).any() else 1.0 - least
        )
        return chosen, [Message(f"{what}: {chosen:.6g} is added before the transformation {name}.")]


def poverty_line(threshold: float | str | Callable[..., float], y: np.ndarray, w: np.ndarray | None) -> float:
    """Return the threshold: a number, a share of the median of the sample, or what a function makes of it.

    Raises
    ------
    SaeInputError
        If it is not a positive number.
    """
    weights = np.ones(len(y)) if w is None else w
    share = share_of_median(threshold)
    if share is not None:
        line = share * float(weighted_quantile(y, weights, np.array([0.5]))[0])
    else:
        given = threshold(y, weights) if callable(threshold) else threshold
        if not isinstance(given, Real) or isinstance(given, bool):
            raise SaeInputError(
                f"The threshold is {str(given)[:40]!r}, which is no number.",
                hint="Give a number, or a function of (values, weights) that returns one.",
            )
        line = float(given)
    if not (np.isfinite(line) and line > 0.0):
        raise SaeInputError(
            f"The threshold is {line:g}: gaps below it are shares of it.", hint="It must be positive."
        )
    return line


def _group_codes(column: pd.Series, groups: tuple[str, ...], name: str) -> np.ndarray:
    text = labels(column, keep_missing=True)
    codes = pd.Index(groups).get_indexer(pd.Index(text.to_numpy(dtype=object)))
    if (codes < 0).any():
        strange = text[codes < 0].fillna("missing").unique()
        raise SaeInputError(
            f"{name} of the units has values that the population has not: {name_some(strange)}.", column=name
        )
    return codes


def _persons(units: pd.DataFrame, column: str | None) -> np.ndarray | None:
    """Return the persons of each unit, where the sample has them all; they weigh comparisons alone."""
    if column is None or column not in units or not pd.api.types.is_numeric_dtype(units[column]):
        return None
    persons = units[column].to_numpy(dtype=float, na_value=np.nan)
    return persons if (np.isfinite(persons) & (persons > 0.0)).all() else None


def _weights(units: pd.DataFrame, data: pd.DataFrame | Survey, column: str | None) -> np.ndarray | None:
    if column is None:
        if not isinstance(data, Survey):
            return None
        weights = np.asarray(data.weights, dtype=float)
        return weights if data.mask is None else weights[np.asarray(data.mask)]
    require(units, [column], "The units have")
    weights = to_numbers(units, column)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights > 0.0)))
    if len(bad):
        raise SaeInputError(
            f"The weight {column} is missing or not positive in {len(bad)} of {len(units)} units: "
            f"row {name_some(bad + 1)}.",
            column=column,
        )
    refuse_dominant(weights, column)
    return weights
