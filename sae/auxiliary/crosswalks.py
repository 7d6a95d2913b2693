"""Figures of areas brought to other areas by shares: another vintage, or municipalities to cities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import Covariates, joined_labels, labels, pandas_frame, require, to_numbers

__all__ = ["crosswalk", "links_of", "matches_of"]

Frame = TypeVar("Frame", pd.DataFrame, Covariates)

_SUM = 1e-6  # how far the shares of an area may be from 1: beyond it is no rounding


@answered
def crosswalk(
    table: Frame,
    *,
    by: str | Sequence[str],
    shares: pd.DataFrame,
    counts: Sequence[str] = (),
    rates: Mapping[str, str] | None = None,
    rest: str | None = None,
    absent: Literal["refuse", "zero"] = "refuse",
    whole: bool = False,
) -> Frame:
    """Bring figures of areas to other areas: counts are split by shares, rates averaged with weights.

    Parameters
    ----------
    table : DataFrame or Covariates
        One row per area, and per group and period where there are any.
    by : str or sequence of str
        The column of the areas' codes, then those that tell the rows of an area apart, such as the year.
    shares : DataFrame
        Its first column holds codes of the areas, the second those of the new areas, the third the share of
        the area that goes there (of its residents, say). Without a third column every area goes to one new
        area as a whole. A column ``geo_version`` may say of which version the new codes are.
    counts : sequence of str
        Columns of counts.
    rates : mapping of str to str, optional
        Columns of rates, each with the column of `counts` that it is a rate of: the new rate is
        Σ share · count · rate / Σ share · count. Missing where the new area has none to count.
    rest : str, optional
        What the rows are called that go to no new area (an empty code in `shares`), such as municipalities in
        no city. Without it they are refused.
    absent : {"refuse", "zero"}
        What is made of an area that `shares` holds and the table does not: "zero" where it has no one to
        count, as a grid without its empty cells.
    whole : bool
        Whether split counts stay whole: the parts of each area are rounded by largest remainder.

    Returns
    -------
    DataFrame or Covariates
        One row per new area (in the order of `shares`) and what else `by` names, with the new code in a
        column called as in `shares`. Counts of areas that go somewhere as a whole keep their integers; sums
        over all areas stay what they were. A count or rate is missing where one that it is made of is.
        Columns of text that hold the same in every row, such as a source, are kept, and so are origins of
        covariates, but not the ``geo_version`` of the old codes.

    Raises
    ------
    SaeInputError
        If an area has no shares, shares are missing, negative or do not sum to 1, a new area lacks some of
        the areas that it is made of, rows repeat, or a column is not said to be count or rate; all are named.

    Examples
    --------
    >>> table = pd.DataFrame({"geo": ["HR04", "HR03"], "persons": [100, 40], "rate": [0.10, 0.05]})
    >>> shares = pd.DataFrame({"geo": ["HR03", "HR04", "HR04"], "geo_2021": ["HR03", "HR02", "HR05"],
    ...                        "share": [1.0, 0.6, 0.4]})
    >>> sae.auxiliary.crosswalk(table, by="geo", shares=shares, counts=["persons"], rates={"rate": "persons"})
      geo_2021  persons  rate
    0     HR03     40.0  0.05
    1     HR02     60.0  0.10
    2     HR05     40.0  0.10
    """
    if isinstance(table, Covariates):
        frame = _brought(table.frame, by, shares, counts, rates or {}, rest, absent, whole)
        return Covariates(frame, {name: origin for name, origin in table.origins.items() if name in frame})
    return _brought(pandas_frame(table, "The table"), by, shares, counts, rates or {}, rest, absent, whole)


def _brought(
    table: pd.DataFrame,
    by: str | Sequence[str],
    shares: pd.DataFrame,
    counts: Sequence[str],
    rates: Mapping[str, str],
    rest: str | None,
    absent: str,
    whole: bool,
) -> pd.DataFrame:
    by = [by] if isinstance(by, str) else list(by)
    if absent not in ("refuse", "zero"):
        raise SaeSpecError(f"absent={absent!r}.", hint='Use "refuse" or "zero".')
    constant = _check_columns(table, by, counts, rates)
    way = links_of(shares, rest)
    links, target = way.links, way.target
    if target in (*by[1:], *counts, *rates, *constant):
        raise SaeInputError(
            f"The shares and the table both have a column {target!r}.", hint="Rename one.", column=target
        )
    frame = table.reset_index(drop=True)
    frame = frame.assign(**{by[0]: labels(frame[by[0]])})
    repeated = frame.duplicated(by)
    if repeated.any():
        names = joined_labels(frame[repeated], by).unique()
        raise SaeInputError(
            f"{len(names)} areas stand more than once in the table: {name_some(names)}.",
            hint="Name in by= what tells their rows apart, such as the year.",
            areas=names,
        )
    row, link = matches_of(frame[by[0]], links)
    new = links["target"].to_numpy()[link]
    others = frame[by[1:]].take(row).reset_index(drop=True)
    keys = pd.concat([pd.Series(new, name=_TARGET), others], axis=1)
    group, places = _groups(keys, links)
    if absent != "zero":
        _check_whole_areas(frame[by[0]].to_numpy()[row], links, keys, group, rest)
    share = links["share"].to_numpy()[link]
    out = keys.iloc[places].rename(columns={_TARGET: target}).reset_index(drop=True)
    parts = {name: _split(frame, name, row, share, whole) for name in counts}
    for name in counts:
        out[name] = _sums(parts[name], group, len(out))
    for name, base in rates.items():
        values = to_numbers(frame, name)[row]
        weighted = np.where(parts[base] == 0, 0.0, parts[base] * values)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[name] = _sums(weighted, group, len(out)) / out[base].to_numpy(dtype=float)
    kept = {name: frame[name].iloc[0] for name in constant if name != "geo_version"}
    return out.assign(**kept, **way.version)


_TARGET = "\x1fnew area"  # no column of the table bears this name


def _check_columns(
    table: pd.DataFrame, by: Sequence[str], counts: Sequence[str], rates: Mapping[str, str]
) -> list[str]:
    """Return the columns of constant text; refuse a column that is neither these nor named."""
    require(table, [*by, *counts, *rates], "The table has")
    weightless = [base for base in rates.values() if base not in counts]
    if weightless:
        raise SaeSpecError(
            f"The counts {name_some(weightless)} that rates are of are not in counts=.",
            hint="Name them there.",
        )
    if not len(table):
        raise SaeInputError("The table has no rows.")
    left = [name for name in table if name not in (*by, *counts, *rates)]
    constant = [
        str(name)
        for name in left
        if not pd.api.types.is_numeric_dtype(table[name].dtype) and table[name].nunique(dropna=False) == 1
    ]
    unsaid = [str(name) for name in left if str(name) not in constant]
    if unsaid:
        raise SaeInputError(
            f"What is to become of the columns {name_some(unsaid)} is not said.",
            hint="Name them in counts=, rates= or by=, or leave them out of the table.",
            column=unsaid[0],
        )
    return constant


@dataclass(frozen=True, eq=False)
class Way:
    """How areas go to new areas.

    Attributes
    ----------
    links : DataFrame
        source, target and share of each link; the shares of a source sum to 1.
    target : str
        What the column of the new areas is called.
    version : dict of str to str
        ``geo_version`` of their codes, where it is known.
    """

    links: pd.DataFrame
    target: str
    version: dict[str, str]


def links_of(shares: pd.DataFrame, rest: str | None) -> Way:
    """Read and check a table of shares; see `crosswalk`."""
    shares = pandas_frame(shares, "The shares")
    columns = [str(name) for name in shares if name != "geo_version"]
    if len(columns) < 2 or not len(shares):
        raise SaeInputError(
            "The shares have no rows or fewer than two columns.", hint="Expected area, new area and share."
        )
    links = pd.DataFrame(
        {
            "source": labels(shares[columns[0]]).to_numpy(dtype=object),
            "target": labels(shares[columns[1]], keep_missing=True).to_numpy(dtype=object, na_value=""),
            "share": to_numbers(shares, columns[2]) if len(columns) > 2 else 1.0,
        }
    )
    nowhere = links.loc[links["target"].eq(""), "source"].unique()
    if len(nowhere) and rest is None:
        raise SaeInputError(
            f"{len(nowhere)} areas go to no new area: {name_some(nowhere)}.",
            hint='Say what their row is called, rest="elsewhere", so that no one is lost.',
            areas=nowhere,
        )
    if rest is not None:
        links["target"] = links["target"].replace("", rest)
    bad = links[~(links["share"] >= 0)]
    if len(bad):
        raise SaeInputError(
            f"{len(bad)} shares are missing or negative: {name_some(_arrows(bad))}.", areas=bad["source"]
        )
    twice = links[links.duplicated(["source", "target"])]
    if len(twice):
        raise SaeInputError(
            f"{len(twice)} links stand more than once in the shares: {name_some(_arrows(twice))}.",
            hint="Add their shares up.",
            areas=twice["source"],
        )
    sums = links.groupby("source", sort=False)["share"].sum()
    off = sums[(sums - 1).abs() > _SUM]
    if len(off):
        shown = [f"{source} ({total:.6g})" for source, total in off.items()]
        raise SaeInputError(
            f"The shares of {len(off)} of {len(sums)} areas do not sum to 1: {name_some(shown)}.",
            hint="A whole area has to go somewhere: add what is lacking, or divide the shares by their sum.",
            areas=off.index,
        )
    links["share"] /= links["source"].map(sums)
    links = links[links["share"] > 0].reset_index(drop=True)
    return Way(links, columns[1], _version(shares))


def _version(shares: pd.DataFrame) -> dict[str, str]:
    if "geo_version" not in shares:
        return {}
    versions = labels(shares["geo_version"]).unique()
    if len(versions) > 1:
        raise SaeInputError(
            f"The new codes are of {len(versions)} versions: {name_some(versions)}.",
            hint="Bring the figures to one.",
            column="geo_version",
        )
    return {"geo_version": versions[0]}


def _arrows(links: pd.DataFrame) -> list[str]:
    return [f"{source} → {target}" for source, target in zip(links["source"], links["target"], strict=True)]


def matches_of(codes: pd.Series, links: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return row and link of every pair of the same area, by row; areas without a link are refused."""
    sources = pd.Index(links["source"]).unique()
    area = sources.get_indexer(pd.Index(codes.to_numpy(dtype=object)))
    unknown = codes[area < 0].unique()
    if len(unknown):
        raise SaeInputError(
            f"{len(unknown)} of {codes.nunique()} areas have no shares: {name_some(unknown)}.",
            hint="Check that both use the same codes (vintage, leading zeros).",
            areas=unknown,
        )
    left = pd.DataFrame({"area": area, "row": np.arange(len(codes))})
    right = pd.DataFrame({"area": sources.get_indexer(links["source"]), "link": np.arange(len(links))})
    pairs = left.merge(right, on="area")
    return pairs["row"].to_numpy(), pairs["link"].to_numpy()


def _groups(keys: pd.DataFrame, links: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of every part, and the first part of every group, in the order of the new areas."""
    order = pd.Index(links["target"].unique()).get_indexer(keys[_TARGET])
    group = keys.groupby(list(keys.columns), sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    first = first[np.lexsort((first, order[first]))]
    rank = np.empty(len(first), dtype=np.int64)
    rank[group[first]] = np.arange(len(first))
    return rank[group], first


def _check_whole_areas(
    sources: np.ndarray, links: pd.DataFrame, keys: pd.DataFrame, group: np.ndarray, rest: str | None
) -> None:
    """Refuse new areas of which a part is not in the table: their figures would be too small."""
    need = keys[_TARGET].map(links["target"].value_counts()).to_numpy()
    short = (np.bincount(group)[group] < need) & (keys[_TARGET] != rest).to_numpy()
    if not short.any():
        return
    lines = []
    for name, some in keys[short].groupby(list(keys.columns), sort=False, dropna=False):
        made_of = links.loc[links["target"].eq(name[0]), "source"]
        lacking = made_of[~made_of.isin(sources[some.index])]
        lines.append(f"{' / '.join(map(str, name))} ({name_some(lacking, 3)})")
    raise SaeInputError(
        f"{len(lines)} new areas lack some of the areas that they are made of: {name_some(lines)}.",
        hint="Give these areas a row, leave the new areas out, or say that no one lives there: "
        'absent="zero".',
        areas=keys.loc[short, _TARGET].unique(),
    )


def _split(frame: pd.DataFrame, name: str, row: np.ndarray, share: np.ndarray, whole: bool) -> np.ndarray:
    """Return the part of a count that goes along each link, integers where nothing is split."""
    values = to_numbers(frame, name)
    negative = frame.index[(values < 0) | np.isinf(values)]
    if len(negative):
        raise SaeInputError(
            f"{name} is no count in {len(negative)} of {len(frame)} rows, such as {values[negative[0]]:g} "
            f"in row {negative[0] + 1}.",
            hint="It counts. Leave a figure empty that is not known (-9999 in census grids).",
            column=name,
        )
    parts = values[row] * share
    if whole:
        odd = frame.index[values != np.round(values)]
        if len(odd):
            raise SaeInputError(
                f"{name} is not whole in {len(odd)} of {len(frame)} rows: row {name_some(odd + 1)}.",
                hint="whole=True is for counts without a fraction.",
                column=name,
            )
        parts = _largest_remainder(parts, values, row)
    is_whole = pd.api.types.is_integer_dtype(frame[name].dtype) and not np.isnan(values).any()
    return parts.astype(np.int64) if is_whole and (whole or (share == 1).all()) else parts


def _largest_remainder(parts: np.ndarray, values: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return whole parts that sum to each value; the largest fractions go up, of equals the first."""
    down = np.floor(parts + 1e-9)
    lacking = np.round(values - np.bincount(row, down, minlength=len(values)))
    order = np.lexsort((np.arange(len(parts)), -np.round(parts - down, 9), row))
    start = np.searchsorted(row[order], np.arange(len(values)))
    place = np.empty(len(parts))
    place[order] = np.arange(len(parts)) - start[row[order]]
    return down + (place < lacking[row])


def _sums(parts: np.ndarray, group: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros(size, dtype=parts.dtype)
    np.add.at(out, group, parts)
    return out
