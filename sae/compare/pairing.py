"""All pairs of areas: which can be told apart, when so many are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import scipy

from sae.calls import answered
from sae.compare.comparison import SAME, side_verdicts
from sae.compare.differing import Data
from sae.compare.joint import Figures, figures_of
from sae.compare.ranking import rank_keys
from sae.compare.sides import agreed_set
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.inference.multiplicity import adjusted
from sae.tables import labels, to_numbers
from sae.tables.base import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Pairs", "pairs"]

_MOST = 5000  # areas of one set: 12 million pairs
Method = Literal["benjamini-hochberg", "benjamini-yekutieli"]


@dataclass(frozen=True, eq=False, repr=False)
class Pairs(Table):
    """All pairs of areas, and which can be told apart.

    Attributes
    ----------
    frame : DataFrame
        One row per pair: the columns `within`; `domain` and `against`, in the order of the table; `estimate`,
        the difference of `value` and `other`; `se`; `p_value` of the two-sided test, and `q_value`, the same
        adjusted for all pairs of the table; `verdict`: "higher", "lower" or "cannot be told apart"; `n` and
        `n_other`; `publishable`, only where both are.
    fdr : float
        Expected share of wrong ones among the pairs that are told apart.
    method : str
    within : tuple of str
    notes : tuple of str
    """

    frame: pd.DataFrame
    fdr: float
    method: str
    within: tuple[str, ...]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Return what the pairs say, in a few lines."""
        apart = int((self.frame["verdict"] != SAME).sum())
        rest = len(self.frame) - apart
        return "\n".join(
            [
                f"{len(self.frame):,} pairs of areas: {apart:,} can be told apart, {rest:,} cannot",
                f"of those told apart at most {self.fdr:.0%} are expected to be wrong ({self.method})",
                *self.notes,
            ]
        )

    def _heading(self) -> str:
        return self.summary()

    def _shown(self) -> pd.DataFrame:
        return self.frame

    def matrix(self) -> pd.DataFrame:
        """Return a table of areas by areas: 1 where that of the row is higher, -1 lower, 0 not told apart.

        Raises
        ------
        SaeInputError
            If the pairs are of several periods or groups.
        """
        frame = self.frame
        if self.within and len(frame[list(self.within)].drop_duplicates()) > 1:
            raise SaeInputError(
                f"The pairs are of several sets, by {name_some(self.within)}: a matrix shows one.",
                hint="Call pairs() on the rows of one.",
            )
        names = pd.Index(pd.unique(pd.concat([frame["domain"], frame["against"]])), name="domain")
        sign = frame["verdict"].map({"higher": 1, "lower": -1}).fillna(0).to_numpy(dtype=np.int8)
        one, other = names.get_indexer(frame["domain"]), names.get_indexer(frame["against"])
        made = np.zeros((len(names), len(names)), dtype=np.int8)
        made[one, other], made[other, one] = sign, -sign
        return pd.DataFrame(made, index=names, columns=names.rename("against"))

    def plot(self, *, title: str = "", source: str = "") -> Figure:
        """Draw who can be told apart from whom: see `sae.plots.apart`."""
        from sae.plots import apart

        frame = self.frame
        ends = [frame[["domain", "value"]], frame[["against", "other"]].set_axis(["domain", "value"], axis=1)]
        values = pd.concat(ends).drop_duplicates("domain").set_index("domain")["value"]
        return apart(self.matrix(), values, fdr=self.fdr, title=title, source=source)


@answered
def pairs(
    data: Data,
    *,
    within: str | Sequence[str] = (),
    fdr: float = 0.05,
    method: Method = "benjamini-hochberg",
    accept: str | Sequence[str] = (),
    domain: str = "domain",
    estimate: str = "estimate",
    se: str = "se",
) -> Pairs:
    """Tell which pairs of areas differ, with control of the false discovery rate over all pairs of the table.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates or DataFrame
        A fit brings its joint error, direct estimates their covariance where it was asked for.
    within : str or sequence of str
        Columns within whose values areas are paired, such as a group; indicators and periods always are.
    fdr : float
        Expected share of wrong ones among the pairs that are told apart.
    method : {"benjamini-hochberg", "benjamini-yekutieli"}
        The second holds whatever the dependence between the tests, and finds less; the first in the
        simulations of this package for all pairs of estimates.
    accept : str or sequence of str
        Breaks and definitions between areas that are accepted by name.
    domain, estimate, se : str
        Columns of a frame of one's own.

    Returns
    -------
    Pairs
        Areas without a figure are in no pair; they are named.

    Raises
    ------
    SaeSpecError
        If an option or column makes no sense.
    SaeInputError
        If fewer than two areas have a figure, more than 5,000 stand in one set, or areas do not compare.

    References
    ----------
    Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57, 289-300; Benjamini and Yekutieli (2001), Ann. Stat.
    29, 1165-1188.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": list("abc"), "estimate": [0.9, 0.5, 0.45], "se": 0.05})
    >>> sae.compare.pairs(frame).matrix().to_numpy().tolist()
    [[0, 1, 1], [-1, 0, 0], [-1, 0, 0]]
    """
    if not 0.0 < fdr < 1.0:
        raise SaeSpecError(f"fdr={fdr!r} is no share between 0 and 1.", hint="0.05 is usual.")
    if method not in ("benjamini-hochberg", "benjamini-yekutieli"):
        raise SaeSpecError(
            f"method={method!r} is not known.", hint="It is benjamini-hochberg or benjamini-yekutieli."
        )
    also = [within] if isinstance(within, str) else list(within)
    figures = figures_of(data, domain=domain, estimate=estimate, se=se, also=also)
    keys = rank_keys(figures, within)
    known = np.isfinite(figures.estimate)
    codes = (
        figures.rows.groupby(keys, sort=False).ngroup().to_numpy()
        if keys
        else np.zeros(len(known), dtype=int)
    )
    notes = list(figures.notes)
    if not known.all():
        notes.append(
            f"without a figure and so in no pair: {name_some(labels(figures.frame['domain'][~known]))}"
        )
    sets = [np.flatnonzero((codes == code) & known) for code in range(codes.max(initial=-1) + 1)]
    accepted = [accept] if isinstance(accept, str) else list(accept)
    tables = [_set_of_pairs(figures, rows, keys, accepted) for rows in sets if len(rows) > 1]
    if not tables:
        raise SaeInputError("Fewer than two areas with a figure are to be paired.", hint="Pairs need two.")
    frame = pd.concat(tables, ignore_index=True)
    frame["q_value"] = adjusted(frame["p_value"].to_numpy(), dependent=method == "benjamini-yekutieli")
    sign = np.where(frame["q_value"] <= fdr, np.sign(frame["estimate"]), 0.0)
    frame["verdict"] = np.select([sign > 0, sign < 0], ["higher", "lower"], default=SAME)
    return Pairs(frame, fdr, method, tuple(keys), tuple(notes))


def _set_of_pairs(
    figures: Figures, rows: np.ndarray, keys: Sequence[str], accepted: Sequence[str]
) -> pd.DataFrame:
    """Return all pairs of some rows with their p-values."""
    if len(rows) > _MOST:
        raise SaeInputError(
            f"{len(rows):,} areas make {len(rows) * (len(rows) - 1) // 2:,} pairs.",
            hint=f"Pairs are for up to {_MOST:,} areas of one set; ranks() says who lies apart of more.",
        )
    count = len(rows)
    agreed_set(figures, rows, accepted)
    variance, left, right = figures.factors(rows)
    i, j = np.triu_indices(count, 1)
    spread = variance[:, None] + variance[None, :] - (made := left @ right.T) - made.T
    se = np.sqrt(np.maximum(spread[i, j], 0.0))
    value = figures.estimate[rows]
    moved = value[i] - value[j]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(moved == 0.0, 0.0, np.abs(moved) / se)
    table = figures.rows.iloc[rows].reset_index(drop=True)
    names = labels(table["domain"]).to_numpy(dtype=object)
    verdict = side_verdicts(figures.frame)
    both = [pd.array(verdict[rows[k]], dtype="boolean") for k in (i, j)]
    n = to_numbers(figures.frame, "n")[rows] if "n" in figures.frame else np.full(count, np.nan)
    columns = {name: labels(table[name]).to_numpy(dtype=object)[i] for name in keys}
    return pd.DataFrame(
        {
            **columns,
            "domain": names[i],
            "against": names[j],
            "value": value[i],
            "other": value[j],
            "estimate": moved,
            "se": se,
            "p_value": 2.0 * scipy.special.stdtr(_freedom(figures, rows[i], rows[j]), -z),
            "n": pd.array(n[i], dtype="Int64"),
            "n_other": pd.array(n[j], dtype="Int64"),
            "publishable": both[0] & both[1],
        }
    )


def _freedom(figures: Figures, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    made = np.empty(len(one))
    for part in np.array_split(np.arange(len(one)), 1 + len(one) // 1_000_000):
        rows = np.tile(np.arange(len(part)), 2)
        values = np.repeat([1.0, -1.0], len(part))
        shape = (len(part), len(figures.estimate))
        columns = np.concatenate([one[part], other[part]])
        made[part] = figures.freedom(scipy.sparse.csr_array((values, (rows, columns)), shape=shape))
    return made
