"""The rows of an EBP's table: every indicator of every part of every level and of its groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.numerics.ebp.indicators import Indicators
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.tables import area_table

__all__ = ["TOTAL", "FigureRows"]

TOTAL = "total"  # what the column of the groups says of all persons of a part
_SHARES = ("head_count", "gap", "severity")


@dataclass(frozen=True, eq=False)
class FigureRows:
    """M rows: by level, part, group (all persons first) and indicator; those with nobody are left out.

    Attributes
    ----------
    keep : ndarray of bool
        Which of all figures of the levels, each raveled, have a row.
    indicator, domain : ndarray of str, shape (M,)
    level, part, group : ndarray of str, shape (M,)
        Column of the level, name of the part, name of the group.
    area : ndarray of int, shape (M,)
        Area of the rows of the level of the areas, -1 at coarser ones.
    first_of_area : ndarray of int, shape (D,)
        First row of each area, -1 of areas that the population has not.
    size : ndarray of float, shape (M,)
        Persons of the population.
    direct, direct_se, n : ndarray of float, shape (M,)
    nobody : int
        How many parts of levels and groups have nobody.
    """

    keep: np.ndarray
    indicator: np.ndarray
    domain: np.ndarray
    level: np.ndarray
    part: np.ndarray
    group: np.ndarray
    area: np.ndarray
    first_of_area: np.ndarray
    size: np.ndarray
    direct: np.ndarray
    direct_se: np.ndarray
    n: np.ndarray
    nobody: int

    @classmethod
    def build(cls, arrays: EbpArrays, indicators: Indicators, column: str | None = None) -> FigureRows:
        """List the figures that somebody stands behind.

        Raises
        ------
        SaeInputError
            If a group, a value of `column`, bears the name of all persons.
        """
        people, K = arrays.people, len(indicators.names)
        population = people.population
        if TOTAL in people.groups:
            raise SaeInputError(
                f"{column} names a group {TOTAL!r}, which is what the table calls all persons of an area.",
                hint="Give this group another name, in the sample too.",
                column=column,
            )
        groups = np.array([TOTAL, *people.groups], dtype=object)
        G = len(groups)
        weight = np.ones(len(population.X)) if population.mass is None else population.mass
        area_of = np.repeat(np.arange(population.areas), population.sizes)
        columns: dict[str, list[np.ndarray]] = {}
        nobody, present = 0, 0
        for k, (name, (level, parts)) in enumerate(people.levels.items()):
            size = np.zeros((level.size, G))
            part = level.part[area_of]
            np.add.at(size[:, 0], part, weight)
            if population.group is not None:
                np.add.at(size, (part, 1 + population.group), weight)
            there = size > 0.0
            present = len(people.names) if k == 0 else len(parts)
            nobody += int((~there[: people.present if k == 0 else present]).sum())
            labels = np.append(parts, "")[: level.size] if len(parts) < level.size else parts
            direct, se, n = arrays.direct(indicators, level)
            place = np.repeat(np.arange(level.size), G)
            made = {
                "keep": np.repeat(there.ravel(), K),
                "indicator": np.tile(np.array(indicators.names, dtype=object), level.size * G),
                "level": np.full(level.size * G * K, name, dtype=object),
                "part": np.repeat(labels[place], K),
                "group": np.repeat(np.tile(groups, level.size), K),
                "area": np.repeat(place if k == 0 else np.full(len(place), -1), K),
                "size": np.repeat(size.ravel(), K),
                "direct": direct.ravel(),
                "direct_se": se.ravel(),
                "n": np.repeat(n.ravel(), K),
            }
            for one, values in made.items():
                columns.setdefault(one, []).append(values)
        whole = {one: np.concatenate(parts) for one, parts in columns.items()}
        keep = whole.pop("keep")
        kept = {one: values[keep] for one, values in whole.items()}
        domain = np.where(kept["group"] == TOTAL, kept["part"], kept["part"] + " / " + kept["group"])
        first = np.full(len(people.names), -1)
        rows = np.flatnonzero(kept["area"] >= 0)[::-1]
        first[kept["area"][rows]] = rows  # the last to be written is the first row
        return cls(keep=keep, domain=domain, first_of_area=first, nobody=nobody, **kept)

    def of(self, figures: Sequence[np.ndarray]) -> np.ndarray:
        """Return figures of all levels, (S, 1 + G, K) each, as rows, (M,)."""
        return self.flat(np.concatenate([part.ravel() for part in figures]))

    def flat(self, figures: np.ndarray) -> np.ndarray:
        """Return raveled figures of all levels, (..., all), as rows, (..., M)."""
        return np.asarray(figures[..., self.keep])

    @property
    def sampled(self) -> np.ndarray:
        """Which rows have a unit in the sample, shape (M,)."""
        return np.asarray(self.n > 0)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the rows' random streams."""
        each = zip(self.level, self.domain, self.indicator, strict=True)
        return tuple("\x1f".join(map(str, names)) for names in each)

    def groups(self, arrays: EbpArrays, group_column: str | None) -> tuple[str, ...]:
        """Return the names of the group columns of the table."""
        several = ("level",) if len(arrays.people.levels) > 1 else ()
        return (*several, *(() if group_column is None else (group_column,)))

    def columns(self, groups: tuple[str, ...]) -> Mapping[str, Any]:
        """Return the columns of the table known before the fit."""
        # rows of one part bear one name, as those of groups do in every table: comparisons go by it
        table = area_table(
            self.indicator, "", self.part, self.direct, self.direct_se, n=self.n.astype(np.int64)
        )
        table["unit"] = np.where(np.isin(self.indicator, _SHARES), "share", "")
        table["geo"] = self.part
        for name in groups:
            table[name] = self.level if name == "level" else self.group
        return table

    def frame(self) -> pd.DataFrame:
        """Return what is known of the parts and their groups, on the rows of the table."""
        return pd.DataFrame({"level": self.level, "part": self.part, "population": self.size})
