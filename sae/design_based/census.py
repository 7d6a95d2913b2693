"""A census table, current counts and a survey in one order: domains × post-strata × categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sae.design_based.counts import Keys, KnownCounts, match_records, names_of, read_counts, read_crossing
from sae.design_based.indirect import Shared, shared_means
from sae.design_based.indirect_problem import IndirectProblem, check_variance
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators import Indicator, IndicatorArrays, arrays, check_accept, check_domains
from sae.literals import IndirectVariance
from sae.survey import Survey
from sae.survey.codes import encode
from sae.tables import label_text, require

__all__ = ["Structure", "read_structure"]


@dataclass(frozen=True, eq=False)
class Structure:
    """Census, margins and survey in one order: domains a, post-strata g, categories k.

    Attributes
    ----------
    problem : IndirectProblem
    coded : ndarray of int64, shape (n,)
        Category of each record of the universe, -1 for the others.
    data : list of IndicatorArrays, one per category
    levels : list of str
        Categories as text.
    census : ndarray of float, shape (D, G, K)
    shared : Shared
        Current shares of the categories within the post-strata, from the survey.
    assumption : str
    """

    problem: IndirectProblem
    coded: np.ndarray
    data: list[IndicatorArrays]
    levels: list[str]
    census: np.ndarray
    shared: Shared
    assumption: str

    @property
    def known(self) -> KnownCounts:
        """Current counts by domain and post-stratum."""
        return self.problem.known

    @property
    def margin(self) -> np.ndarray:
        """Current number of persons by post-stratum and category, shape (G, K)."""
        return self.shared.mean * self.known.N.sum(axis=0)[:, None]

    def domain(self, a: int) -> str:
        """Name of a domain."""
        return names_of([self.known.rows[a]])[0]

    def cell_name(self, g: int, k: int) -> str:
        """Name of a cell of post-stratum and category."""
        return names_of([(*self.known.columns[g], self.levels[k])])[0]

    def name(self, margin: int, index: tuple[int, ...]) -> str:
        """Name of a cell of the first margin (domain × post-stratum) or of the second."""
        first, second = index
        if margin == 1:
            return self.cell_name(first, second)
        stratum = names_of([self.known.columns[second]])[0]
        return self.domain(first) if len(self.known.columns) == 1 else f"{self.domain(first)} × {stratum}"


def read_structure(
    survey: Survey,
    category: str,
    by: str | Sequence[str],
    census: pd.DataFrame,
    counts: pd.DataFrame,
    within: str | Sequence[str],
    universe: str | None,
    count: str,
    variance: IndirectVariance | None,
    accept: str | Sequence[str] = (),
) -> Structure:
    """Match census, counts and survey by name; the parameters are those of `sae.design_based.spree`."""
    by = (by,) if isinstance(by, str) else tuple(by)
    within = (within,) if isinstance(within, str) else tuple(within)
    method = check_variance(survey, variance)
    if method == "poisson":
        raise SaeSpecError(
            "variance='poisson' does not scale the shares of a margin to 1.",
            hint="Use the linearised variance or replicate weights.",
        )
    require(survey.frame, [category], "The survey has", error=SaeSpecError)
    _, labels = encode(survey.frame[category])
    values = labels.tolist()
    if not values:
        raise SaeInputError(f"The column {category!r} has no value at all.", column=category)
    accepted = check_accept(accept)
    probe = arrays(Indicator(f"{category} == {values[0]!r}", universe=universe), survey, accepted)
    check_domains([*by, *within], survey, accepted)
    known = read_counts(survey, by, within, counts, count, probe.inside)
    levels, dense = _read_census(census, by, within, category, count, known)
    keys: Keys = [(name,) for name in levels]
    coded, _ = match_records(survey, [category], keys, probe.inside, "categories", "the census")
    of_level = {label_text(value): value for value in values}
    data = []
    for k, name in enumerate(levels):
        condition = f"{category} == {of_level.get(name, name)!r}"
        indicator = Indicator(condition, universe=universe, unit="share")
        data.append(replace(probe, indicator=indicator, numerator=(coded == k), denominator=probe.inside))
    problem = IndirectProblem.of(survey, known, probe.inside, method)
    shared = shared_means(problem, (coded[:, None] == np.arange(len(levels))).astype(float))
    preserved = f"census interactions of {' × '.join(by)} and {category}"
    assumption = preserved + (f" within {' × '.join(within)}" if within else "")
    structure = Structure(problem, coded, data, levels, dense, shared, assumption)
    _check_sampled(structure)
    return structure


def _read_census(
    census: pd.DataFrame,
    by: tuple[str, ...],
    within: tuple[str, ...],
    category: str,
    count: str,
    known: KnownCounts,
) -> tuple[list[str], np.ndarray]:
    """Levels of the category, and the census counts in the order of the known ones, shape (D, G, K)."""
    table = read_crossing(census, by, [*within, category], count, "the census")
    levels = list(dict.fromkeys(key[-1] for key in table.columns))
    cells = [(*key, level) for key in known.columns for level in levels]
    for what, ours, theirs in (("domains", known.rows, table.rows), ("cells", cells, table.columns)):
        for one, other, holder, lacking in (
            (ours, theirs, "the counts", "the census"),
            (theirs, ours, "the census", "the counts"),
        ):
            there = set(other)
            alone = names_of([key for key in one if key not in there])
            if alone:
                raise SaeInputError(
                    f"{len(alone)} {what} of {holder} are not in {lacking}: {name_some(alone)}.",
                    hint="Bring both to the same areas, post-strata and codes; an empty cell counts 0.",
                    areas=alone,
                )
    row = {key: number for number, key in enumerate(table.rows)}
    column = {key: number for number, key in enumerate(table.columns)}
    order = np.ix_([row[key] for key in known.rows], [column[key] for key in cells])
    return levels, table.values[order].reshape(len(known.rows), len(known.columns), len(levels))


def _check_sampled(frame: Structure) -> None:
    gone = (frame.margin == 0) & (frame.census.sum(axis=0) > 0) & (frame.known.N.sum(axis=0) > 0)[:, None]
    if gone.any():
        cells = [frame.cell_name(g, k) for g, k in zip(*np.nonzero(gone), strict=True)]
        raise SaeInputError(
            f"{len(cells)} cells of post-stratum and category have people in the census but no record in the "
            f"survey: {name_some(cells)}.",
            hint="Use fewer post-strata (within=), or join categories.",
            areas=cells,
        )
