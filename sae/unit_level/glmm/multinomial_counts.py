"""What the multinomial model reads: counts of categories by area, or persons, and covariates of areas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.numerics.inference.standardise import Standardised, standardise
from sae.results import FittedData, Message, covariate_messages, run_id
from sae.specs import Design, Specification
from sae.specs.design import check_rank
from sae.survey import Survey
from sae.tables import join_by_name, labels, require, to_numbers
from sae.unit_level.rows import (
    UnitRows,
    constant_columns,
    formula_words,
    read_areas,
    read_units,
    refuse_missing,
)
from sae.unit_level.tables import area_table

__all__ = ["Counts"]


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of D areas in K categories; 0 without a sample.

    Attributes
    ----------
    frame : DataFrame
        All columns of data and areas, one row per area.
    names : ndarray of str, shape (D,)
    categories : tuple of str
        The last one is that of reference.
    counts : ndarray, shape (D, K)
    X : ndarray, shape (D, p)
    design : Design
    """

    frame: pd.DataFrame
    names: np.ndarray
    categories: tuple[str, ...]
    counts: np.ndarray
    X: np.ndarray
    design: Design

    @classmethod
    def build(
        cls,
        data: pd.DataFrame | Survey,
        areas: pd.DataFrame | str | Path | None,
        *,
        categories: Sequence[str],
        covariates: str,
        domain: str,
    ) -> Counts:
        """Bring counts and covariates together by name, and check them.

        Raises
        ------
        SaeInputError
            If a column or covariate is missing, counts are negative or missing in part, or a category is
            never seen; areas and columns are named.
        """
        frame = read_units(data)
        require(frame, [domain, *categories], "The data have")
        refuse_missing(frame, domain, "rows of the data")
        population = read_areas(areas, covariates, domain)
        persons, frame = frame, _one_per_area(frame, categories, domain)
        if population is not None:
            frame = _with_areas(frame, population, domain)
        _refuse_differing(persons, frame, covariates)
        names = labels(frame[domain]).to_numpy(dtype=object)
        counts = np.column_stack([to_numbers(frame, name, names=names) for name in categories])
        holes = np.isnan(counts).any(axis=1) & ~np.isnan(counts).all(axis=1) | (counts < 0).any(axis=1)
        if holes.any():
            raise SaeInputError(
                f"Counts are negative, or missing in part, in {int(holes.sum())} of {len(names)} areas: "
                f"{name_some(names[holes])}.",
                hint="A category that nobody is in has the count 0; all counts missing mean no sample.",
                areas=names[holes],
            )
        counts = np.nan_to_num(counts)
        never = [name for name, total in zip(categories, counts.sum(axis=0), strict=True) if total == 0]
        if never:
            raise SaeInputError(
                f"Nobody is in {name_some(never)} in any area, so that its share cannot be modelled.",
                hint="Leave the category out.",
                column=never[0],
            )
        sampled = counts.sum(axis=1) > 0
        design, learnt = Design.learn(covariates, frame[sampled], list(names[sampled]))
        check_rank(learnt, design.columns)
        X = design.rebuild(frame, list(names))
        return cls(frame, names, tuple(categories), counts, X, design)

    @property
    def sampled(self) -> np.ndarray:
        """Which areas have a sample, shape (D,)."""
        return np.asarray(self.counts.sum(axis=1) > 0)

    @property
    def total(self) -> np.ndarray:
        """Size of the sample of each area, shape (D,)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def shares(self) -> np.ndarray:
        """Observed shares, shape (D, K); 0 without a sample."""
        return np.asarray(self.counts / np.where(self.sampled, self.total, 1.0)[:, None])

    @property
    def order(self) -> np.ndarray:
        """The areas by their names: the chains take them so, that the order of the data changes nothing."""
        return np.argsort(self.names.astype(str), kind="stable")

    @property
    def logits(self) -> np.ndarray:
        """Observed logits of the sampled areas by their names, half a count added, shape (n, K - 1)."""
        logs = np.log(self.counts[self.order][self.sampled[self.order]] + 0.5)
        return np.asarray(logs[:, :-1] - logs[:, -1:])

    @property
    def standard(self) -> Standardised:
        """How the covariates are standardised."""
        return standardise(self.X[self.order][self.sampled[self.order]])

    @property
    def data(self) -> FittedData:
        """What is fitted: the share of every category of every area."""
        K = len(self.categories)
        return FittedData.of_areas(
            self.shares.ravel(),
            np.full(self.shares.size, np.nan),
            np.repeat(self.X, K, axis=0),
            self.design.columns,
            np.repeat(self.sampled, K),
            np.repeat(self.names, K),
        )

    @property
    def rows(self) -> UnitRows:
        """What the table says of areas and categories before the fit."""
        K, total = len(self.categories), self.total
        direct = np.where(self.sampled[:, None], self.shares, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            se = np.sqrt(direct * (1.0 - direct) / total[:, None])
        table = area_table(
            np.tile(np.array(self.categories, dtype=object), len(self.names)),
            "share",
            np.repeat(self.names, K),
            direct.ravel(),
            se.ravel(),
            n=np.nan,
            n_eff=np.repeat(total, K),
        )
        known = self.frame.loc[np.repeat(self.frame.index, K)].reset_index(drop=True)
        return UnitRows(table, known, {"units": float(total.sum())})

    def messages(self) -> list[Message]:
        """Return what is to be said of the covariates."""
        return covariate_messages(self.X, self.design.columns, self.sampled, self.names)

    def run_id(self, spec: Specification, seed: int | None) -> str:
        """Return the digest of a run on these counts."""
        return run_id(spec, seed, (*self.design.columns, *self.names), (self.counts, self.X))


def _one_per_area(frame: pd.DataFrame, categories: Sequence[str], domain: str) -> pd.DataFrame:
    """Return one row per area: persons, each with a 1 in one category and 0 in the others, are counted.

    What differs between the persons of an area is left out: this is a model of areas.
    """
    names = labels(frame[domain])
    twice = names.duplicated().to_numpy()
    if not twice.any():
        return frame
    counts = np.column_stack([to_numbers(frame, name) for name in categories])
    if not (np.isin(counts, (0.0, 1.0)).all() and (counts.sum(axis=1) == 1.0).all()):
        guilty = names[twice].unique()
        raise SaeInputError(
            f"Areas that appear twice or more: {name_some(guilty)}.",
            hint="Give one row per area with its counts, or one row per person with 1 in the column of the "
            "person's category and 0 in the others.",
            areas=guilty,
            column=domain,
        )
    row, areas = pd.factorize(names)
    others = [name for name in frame if name not in categories]
    sums = {name: np.bincount(row, counts[:, k], len(areas)) for k, name in enumerate(categories)}
    return constant_columns(frame[others], row).assign(**sums)


def _refuse_differing(persons: pd.DataFrame, frame: pd.DataFrame, covariates: str) -> None:
    """Refuse a covariate of which an area has several values."""
    differing = [name for name in persons if name not in frame and name in formula_words(covariates)]
    if differing:
        raise SaeInputError(
            f"{name_some(differing)} differs between the persons of an area, and this is a model of areas.",
            hint="Give one value per area in fit(..., areas=...).",
            column=str(differing[0]),
        )


def _with_areas(frame: pd.DataFrame, areas: pd.DataFrame, domain: str) -> pd.DataFrame:
    """Join the columns of areas that the data lack, and append the areas that the data lack."""
    extra = areas.drop(columns=[name for name in areas if name in frame and name != domain])
    joined, _ = join_by_name(frame, extra, domain, names=("the data", "the areas"))
    alone = areas[~labels(areas[domain]).isin(labels(frame[domain])).to_numpy()]
    return pd.concat([joined, alone], ignore_index=True) if len(alone) else joined
