"""Segregation over the parts of areas: from fits and direct estimates of shares, and from counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.compare.differing import Data, Weights
from sae.compare.segregation_cells import Block, Cells, Living
from sae.compare.segregation_counts import count_cells
from sae.compare.segregation_shares import share_cells
from sae.compare.segregation_table import Segregation
from sae.errors import SaeSpecError, name_some
from sae.numerics.random.streams import seed_of
from sae.numerics.segregation import INDICES

__all__ = ["segregation"]

_FIGURES = ("estimate", "se", "ci_low", "ci_high", "plain", "by_chance", "p_value", "beyond_chance")
_DEFINITIONS = {
    "dissimilarity": "Duncan and Duncan 1955 v1",  # as the registry has it
    "isolation": "Lieberson 1981 v1",
    "exposure": "Lieberson 1981 v1",
    "entropy": "Theil and Finizza 1971 v1",
    "gini": "Massey and Denton 1988 eq. 6 v1",
    "atkinson": "Massey and Denton 1988 eq. 7, b = 1/2 v1",
}


@answered
def segregation(
    data: Data,
    indices: str | Sequence[str] = "dissimilarity",
    *,
    area: str | Mapping[Any, Any] | pd.Series,
    group: str | None = None,
    against: str | None = None,
    counts: str | Sequence[str] | None = None,
    population: Weights | None = None,
    seed: int | np.random.Generator | None = None,
    level: float = 0.95,
    draws: int = 1000,
    domain: str = "domain",
    estimate: str = "estimate",
    se: str = "se",
) -> Segregation:
    """Measure how far groups live apart in the parts of areas, and how sure that is.

    An index of noisy figures is too high: parts differ by chance where nobody lives apart. From direct
    estimates and from counts it is corrected by its bias in bootstrap replicates, and printed beside what
    chance alone would make. The truths behind a fit are drawn instead, and the estimate is their index's
    mean: the index of the predictions themselves would be too low, for they are drawn together.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates or DataFrame
        Shares of the group in the parts, or a frame of counts.
    indices : str or sequence of str
        "dissimilarity", "isolation", "exposure", "entropy" (Theil's H), "gini", "atkinson" (b = 1/2); "all".
    area : str, mapping or Series
        The area of each part: a column of the estimates, areas or frame, or areas by part.
    group : str, optional
        Column of the groups; of estimates, "indicator" where there are several.
    against : str, optional
        A group that each other one is set against; all who are not of the group by default. Isolation and
        exposure count everyone who lives in a part.
    counts : str or sequence of str, optional
        Of a frame of counts: the column of the counts, with the groups in `group`; or one column per group.
        Groups exclude each other and make up everyone.
    population : str, mapping or Series
        Of shares: how many live in each part, all groups together.
    seed : int or Generator
    level : float
    draws : int
    domain, estimate, se : str
        Columns of a frame: of the part, and of its figures. A column ``time`` makes periods.

    Returns
    -------
    Segregation
        With an area missing a figure in a part left without an index, and named.

    Raises
    ------
    SaeSpecError
        If there is no seed, or an option makes no sense.
    SaeInputError
        If counts or shares are none, a part stands twice, or an area has one part or lacks a side.

    Notes
    -----
    Counts: the members of each group fall on the parts by independent multinomials, as Allen et al. have it;
    the even spread is the hypergeometric one of their randomisation, given how many live where. Twice the
    plain index less the mean of the replicates is free of bias to the second order. Isolation, exposure and
    entropy come right even where a part has few members. Dissimilarity and Gini's index near 0 stay too
    high, and Atkinson's wherever parts have no member at all.

    References
    ----------
    Massey and Denton (1988), Social Forces 67, 281–315; Cortese, Falk and Cohen (1976), Am. Sociol. Rev. 41,
    630–637 (index by chance); Carrington and Troske (1997), J. Bus. Econ. Stat. 15, 402–409 (beyond chance);
    Allen, Burgess, Davidson and Windmeijer (2015), Econometrics J. 18, 40–66 (bootstrap).

    Examples
    --------
    >>> census = pd.DataFrame({"city": ["X"] * 4 + ["Y"] * 4, "district": list("abcdefgh"),
    ...                        "foreign": [90, 30, 20, 10, 40, 35, 30, 45],
    ...                        "native": [210, 270, 280, 290, 260, 265, 270, 255]})
    >>> made = sae.compare.segregation(census, area="city", domain="district", counts=["foreign", "native"],
    ...                                against="native", seed=1)
    >>> made[["domain", "plain", "estimate", "by_chance"]].round(2).values.tolist()
    [['X', 0.4, 0.4, 0.06], ['Y', 0.08, 0.06, 0.06]]
    >>> sae.compare.differences(made, "Y")["verdict"].tolist()
    ['higher']
    """
    wanted = _indices(indices)
    if seed is None:
        raise SaeSpecError("segregation(...) needs a seed.", hint="Give seed=1, or any number.")
    if not 0.0 < level < 1.0:
        raise SaeSpecError(f"level={level!r} is no probability between 0 and 1.", hint="0.95 is usual.")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 100:
        raise SaeSpecError(f"draws={draws!r}: at least 100 are needed, 1,000 are usual.")
    if (counts is None) == (population is None):
        raise SaeSpecError(
            "Give population= with the sizes of the parts for shares, or counts= for a frame of counts.",
            hint='segregation(fit, area="city", population="residents", seed=1), or '
            'segregation(frame, area="city", counts=["foreign", "native"], seed=1).',
        )
    number = seed_of(seed)
    if counts is not None:
        if not isinstance(data, pd.DataFrame):
            raise SaeSpecError(
                f"counts= names columns of a frame, not of {type(data).__name__}.",
                hint="Give the frame of a census or register.",
            )
        cells = count_cells(data, counts, area, group, domain, against, number, draws)
    else:
        assert population is not None
        cells = share_cells(
            data, population, area, group, domain, against, number, draws, estimate=estimate, se=se
        )
    frame, replicates = _measured(cells, wanted, level)
    notes, lost = cells.notes, frame["estimate"].isna()
    if lost.any():
        names = frame["domain"][lost].unique()
        notes = (*notes, f"without an index, for a part has no figure: {name_some(names)}")
    return Segregation(frame, replicates, level, notes)


def _indices(indices: str | Sequence[str]) -> list[str]:
    if isinstance(indices, str):
        indices = list(INDICES) if indices == "all" else [indices]
    wanted = list(dict.fromkeys(indices))
    lost = [name for name in wanted if name not in INDICES]
    if lost or not wanted:
        raise SaeSpecError(
            f"{name_some(map(repr, lost)) or 'Nothing'} is no index of segregation.",
            hint=f'Indices are {", ".join(INDICES)}, or "all".',
        )
    return wanted


def _measured(cells: Cells, wanted: Sequence[str], level: float) -> tuple[pd.DataFrame, np.ndarray]:
    """Return one row per area, period, group and index, and the replicates of the rows."""
    shape = (len(cells.rows), len(wanted))
    made = {name: np.full(shape, np.nan) for name in _FIGURES}
    drawn: list[np.ndarray] = []
    interval = ""
    for block in cells.blocks:
        for k, name in enumerate(wanted):
            columns, values, interval = _of_block(block, name, level)
            bad = ~np.isfinite(columns["plain"])
            for key, column in columns.items():
                made[key][block.place, k] = np.where(bad, np.nan, column)
            if not drawn:
                drawn.append(np.full((len(values), *shape), np.nan))
            drawn[0][:, block.place, k] = values
    keys = [name for name in ("domain", "time") if name in cells.rows]
    places = [pd.factorize(cells.rows[name])[0] for name in [*keys, "group"]]
    order = np.lexsort(places[::-1])
    rows = pd.concat([cells.rows, cells.sizes], axis=1).iloc[np.repeat(order, len(wanted))]
    frame = rows[[*keys, "group", "against"]].assign(
        indicator=np.tile(np.array(wanted, dtype=object), len(order)),
        definition=np.tile([_DEFINITIONS[name] for name in wanted], len(order)),
        unit="index",
        **{name: made[name][order].ravel() for name in _FIGURES},
    )
    frame.insert(list(frame).index("ci_high") + 1, "interval", interval)
    sizes = ["parts", "members", "others"]
    frame = pd.concat([frame, rows[sizes]], axis=1).reset_index(drop=True)
    return frame, drawn[0][:, order].reshape(len(drawn[0]), -1)


def _of_block(block: Block, name: str, level: float) -> tuple[dict[str, np.ndarray | float], np.ndarray, str]:
    """Return the figures of one index, its replicates, and what the intervals are."""
    import scipy

    def index(living: Living) -> np.ndarray:
        return INDICES[name](living.group, living.other, block.codes, len(block.place), living.everyone)

    plain, drawn = index(block.plain), index(block.drawn)
    centre, error = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    if block.even is None:
        low, high = np.quantile(drawn, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
        figures = {"estimate": centre, "se": error, "ci_low": low, "ci_high": high, "plain": plain}
        return figures, drawn, f"quantiles of {len(drawn):,} joint draws"
    even, corrected = index(block.even), 2.0 * plain - centre
    half = scipy.special.ndtri(0.5 + 0.5 * level) * error
    chance, answer = even.mean(axis=0), np.clip(corrected, 0.0, 1.0)
    as_much = even <= plain if name == "exposure" else even >= plain
    figures = {
        "estimate": answer,
        "se": error,
        "ci_low": np.clip(answer - half, 0.0, 1.0),  # about the answer: else nothing is left of it near 0
        "ci_high": np.clip(answer + half, 0.0, 1.0),
        "plain": plain,
        "by_chance": chance,
        "p_value": (as_much.sum(axis=0) + 1.0) / (len(even) + 1.0),
        "beyond_chance": np.full(len(plain), np.nan)
        if name == "exposure"
        else (plain - chance) / (1.0 - chance),
    }
    return figures, drawn, f"normal on {len(drawn):,} bootstrap replicates, corrected for bias"
