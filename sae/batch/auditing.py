"""Attack a written table: what can be told of its hidden cells from the sums between its figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sae.batch.spec import read_text, toml_tables
from sae.disclosure import Audit, PrimaryRules, audit
from sae.errors import SaeInputError
from sae.publish.linked import told
from sae.tables import EstimateTable, labels, read_table, require

_FIXED = ("indicator", "definition", "unit", "geo", "geo_version", "time")
_SOME = 20  # figures that are printed

__all__ = ["ProductionAudit", "audit_file", "audit_production"]


def audit_file(
    table: Path,
    sums: Path,
    *,
    value: str,
    status: str | None = None,
    persons: int | None = None,
    seed: int | None = None,
) -> Audit:
    """Attack the hidden cells of a table file.

    Parameters
    ----------
    table : Path
        CSV, Parquet or XLSX, one row per cell, hidden ones too.
    sums : Path
        TOML: each dimension and its totals with their parts, as `sae.disclosure.audit` takes them, such as
        ``sex = {total = ["female", "male"]}`` and ``year = {}``.
    value, status, seed
        As there.
    persons : int, optional
        The least number of persons behind a published figure, which is a count of them.

    Raises
    ------
    SaeInputError, SaeSpecError
        If a file cannot be read, or as `sae.disclosure.audit` raises them.
    """
    hierarchies = toml_tables(
        read_text(sums, what="file of sums"), sums.name, needs='sex = {total = ["female", "male"]}'
    )
    frame = read_table(table)
    require(frame, [value], f"{table.name} has")
    frame[value] = frame[value].mask(frame[value].eq(":"))  # as published tables write what they hide
    rules = None if persons is None else PrimaryRules(persons=persons)
    return audit(frame, hierarchies, value=value, status=status, rules=rules, seed=seed)


@dataclass(frozen=True, eq=False)
class ProductionAudit:
    """What the published table of a production tells of the confidential figures.

    Attributes
    ----------
    failing : DataFrame
        The figures that are told too closely, as `sae.publish.linked.told` returns them.
    hidden, cells : int
        Rows without a published figure, and all.
    """

    failing: pd.DataFrame
    hidden: int
    cells: int

    @property
    def passed(self) -> bool:
        """Whether nothing is told too closely."""
        return not len(self.failing)

    def __str__(self) -> str:
        head = f"{self.cells:,} cells, {self.hidden:,} hidden: {len(self.failing):,} figures told too closely"
        return head if self.passed else f"{head}\n{self.failing.head(_SOME).to_string(index=False)}"


def audit_production(table: Path) -> ProductionAudit:
    """Attack the published table of a production with all that links its figures.

    Parameters
    ----------
    table : Path
        ``{id}.published.csv``, ``.parquet`` or ``.xlsx``; the working table ``{id}.parquet`` and
        ``{id}.links.parquet`` of the same run lie beside it.

    Raises
    ------
    SaeInputError
        If it is no such file, one beside it is missing, or the rows differ.
    """
    name, mark, _ = table.name.rpartition(".published.")
    if not mark:
        raise SaeInputError(
            f"{table.name} is no published table of a run.",
            hint="Name ID.published.csv, or give the sums of a table of counts with --sums.",
        )
    public = read_table(table)
    require(public, ["estimate", "geo"], f"{table.name} has")
    if "level" not in public:
        raise SaeInputError(
            f"{table.name} is of a model file, whose run hides what its benchmark would tell.",
            hint="Audit the published table of a production, or give the sums of a table with --sums.",
        )
    working = EstimateTable.read(table.with_name(f"{name}.parquet"))
    links = read_table(table.with_name(f"{name}.links.parquet"))
    groups = tuple(c for c in public.columns[: public.columns.get_loc("estimate")] if c not in _FIXED)
    keys = ["indicator", "time", "geo", *groups]
    same = len(public) == len(working) == len(links) and all(
        labels(public[key]).fillna("").tolist() == labels(working[key]).fillna("").tolist() for key in keys
    )
    if not same:
        raise SaeInputError(
            f"{table.name} has other rows than {name}.parquet.", hint="Audit the files of one run."
        )
    figures = public["estimate"].astype("object")
    shown = (figures.notna() & ~figures.isin([":", ""])).to_numpy(dtype=bool)
    larger = [str(column)[3:] for column in links if str(column).startswith("in ")]
    levels = [*(level for level in working["level"].unique() if level and level not in larger), *larger]
    failing = told(EstimateTable(working.frame, groups), links, levels, shown)
    return ProductionAudit(failing, int((~shown).sum()), len(shown))
