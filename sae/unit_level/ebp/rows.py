"""The rows of an EBP's table: every indicator of every part of every level and of its groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeConvergenceError, SaeInputError, name_some
from sae.numerics.ebp.indicators import Indicators
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.tables import area_table

__all__ = ["TOTAL", "UNITS", "FigureRows"]

TOTAL = "total"  # what the column of the groups says of all persons of a part
# of figures that are not in the unit of welfare
UNITS = dict.fromkeys(("head_count", "gap", "severity"), "share")
UNITS |= {"gini": "index", "quintile_share": "ratio"}


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
    homes : mapping of str to ndarray, shape (M,)
        By coarser level, its part in which the area of a row lies, None of rows of other levels.
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
    homes: Mapping[str, np.ndarray]

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
        columns: dict[str, list[np.ndarray]] = {}
        nobody, present = 0, 0
        for k, (name, (level, parts)) in enumerate(people.levels.items()):
            size = np.zeros((level.size, G))
            np.add.at(size, level.part, population.persons)
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
        homes = {}
        for name, (level, parts) in [*people.levels.items()][1:]:
            home = np.append(
                parts[level.part[: people.present]], [None] * (len(people.names) - people.present)
            )
            inside = np.where(kept["area"] >= 0, home[kept["area"]], None)
            homes[name] = np.where(kept["level"] == name, kept["part"], inside)
        return cls(keep=keep, domain=domain, first_of_area=first, nobody=nobody, homes=homes, **kept)

    def of(self, figures: Sequence[np.ndarray]) -> np.ndarray:
        """Return figures of all levels, (S, 1 + G, K) each, as rows, (M,)."""
        return self.flat(np.concatenate([part.ravel() for part in figures]))

    def flat(self, figures: np.ndarray) -> np.ndarray:
        """Return raveled figures of all levels, (..., all), as rows, (..., M)."""
        return figures if self.keep.all() else np.asarray(figures[..., self.keep])

    def refuse_infinite(self, bad: np.ndarray, indicators: Indicators, where: str = "") -> None:
        """Refuse figures, (M,), that are no finite numbers.

        Parameters
        ----------
        bad : ndarray of bool, shape (M,)
        indicators : Indicators
        where : str
            In what, beside areas.

        Raises
        ------
        SaeConvergenceError
            If there are any; names of indicators and areas are given.
        """
        if not bad.any():
            return
        names, areas = list(dict.fromkeys(self.indicator[bad])), list(dict.fromkeys(self.domain[bad]))
        own = [name for name in names if name in indicators.functions]
        hint = "Shares of the total need a total above 0: look for negative welfare among the simulated."
        if own:
            hint = f"The function {name_some(own)} must return a finite number for any population of an area."
        raise SaeConvergenceError(
            f"{name_some(names)} is no finite number in {where}{name_some(areas)}.", hint=hint, areas=areas
        )

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
        table["unit"] = [UNITS.get(name, "") for name in self.indicator]
        table["geo"] = self.part
        for name in groups:
            table[name] = self.level if name == "level" else self.group
        return table

    def frame(self) -> pd.DataFrame:
        """Return what is known of the parts and their groups, on the rows of the table."""
        known = {"level": self.level, "part": self.part, "population": self.size}
        return pd.DataFrame({**self.homes, **known})
