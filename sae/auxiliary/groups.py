"""How groups live within areas: shares, diversity and segregation over the parts of each, as covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from sae.auxiliary.crosswalks import Frame, links_of, matches_of
from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.segregation import dissimilarity, isolation
from sae.tables import Covariates, labels, pandas_frame, require, to_numbers

__all__ = ["group_covariates"]


@answered
def group_covariates(
    table: Frame,
    *,
    by: str,
    shares: pd.DataFrame,
    groups: Sequence[str],
    rest: str | None = None,
) -> Frame:
    """Describe how groups live in areas by their counts in the areas' parts, such as cells of a grid.

    Parameters
    ----------
    table : DataFrame or Covariates
        One row per part.
    by : str
        Column with the codes of the parts.
    shares : DataFrame
        Part, area and share, as for `crosswalk` and from `cell_shares`.
    groups : sequence of str
        Columns of counts of groups that exclude each other and make up everyone, such as those born in the
        country, elsewhere in the EU and outside it.
    rest : str, optional
        What the parts in no area are called together, as for `crosswalk`.

    Returns
    -------
    DataFrame or Covariates
        One row per area, in the order of `shares`: the area, ``total``, ``share_<group>``, ``diversity`` (the
        chance that two persons are of different groups, 1 - Σ p²), ``dissimilarity_<group>`` and
        ``isolation_<group>`` of the group from all others over the parts; missing where there is no one.
        Where the counts have an origin, so do the columns of their group.

    Raises
    ------
    SaeInputError
        If counts are missing or negative, or codes and shares do not match; they are named.

    Examples
    --------
    >>> cells = pd.DataFrame({"cell": ["a", "b"], "native": [30, 10], "foreign": [10, 10]})
    >>> shares = pd.DataFrame({"cell": ["a", "b"], "city": "X"})
    >>> frame = sae.auxiliary.group_covariates(cells, by="cell", shares=shares, groups=["native", "foreign"])
    >>> frame[["total", "share_foreign", "dissimilarity_foreign"]].round(3).values.tolist()
    [[60.0, 0.333, 0.25]]
    """
    if isinstance(table, Covariates):
        frame = _described(table.frame, by, shares, groups, rest)
        return Covariates(
            frame,
            {
                f"{what}_{name}": replace(
                    table.origins[name], definition=f"{what} of {table.origins[name].definition}"
                )
                for name in groups
                if name in table.origins
                for what in ("share", "dissimilarity", "isolation")
            },
        )
    return _described(pandas_frame(table, "The table"), by, shares, groups, rest)


def _described(
    table: pd.DataFrame, by: str, shares: pd.DataFrame, groups: Sequence[str], rest: str | None
) -> pd.DataFrame:
    require(table, [by, *groups], "The table has")
    if len(groups) < 2:
        raise SaeSpecError(f"groups= names {len(groups)} groups.", hint="Name all that make up everyone.")
    codes = labels(table[by]).reset_index(drop=True)
    counts = np.column_stack([to_numbers(table, name) for name in groups])
    bad = codes[np.flatnonzero(~((counts >= 0) & np.isfinite(counts)).all(axis=1))]
    if len(bad):
        raise SaeInputError(
            f"Counts are missing, negative or infinite in {len(bad)} of {len(codes)} rows: {name_some(bad)}.",
            hint="Give a count of 0 where there is no one; what is confidential is not 0.",
            areas=bad,
        )
    repeated = codes[codes.duplicated()].unique()
    if len(repeated):
        raise SaeInputError(
            f"{len(repeated)} parts stand more than once: {name_some(repeated)}.", areas=repeated
        )
    way = links_of(shares, rest)
    links = way.links
    row, link = matches_of(codes, links)
    area, names = pd.factorize(links["target"].to_numpy()[link])
    order = pd.Index(links["target"].unique())
    order = order[order.isin(names)]
    area = order.get_indexer(names)[area]
    parts = counts[row] * links["share"].to_numpy()[link][:, None]
    everyone, size = parts.sum(axis=1), len(order)
    total = np.bincount(area, everyone, size)
    out = pd.DataFrame({way.target: order.to_numpy(dtype=object), "total": total})
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.column_stack([np.bincount(area, part, size) for part in parts.T]) / total[:, None]
    out = out.assign(**{f"share_{name}": share[:, k] for k, name in enumerate(groups)})
    out["diversity"] = 1 - (share**2).sum(axis=1)
    for name, part in zip(groups, parts.T, strict=True):
        out[f"dissimilarity_{name}"] = dissimilarity(part, everyone - part, area, size)
        out[f"isolation_{name}"] = isolation(part, everyone - part, area, size)
    return out.assign(**way.version)
