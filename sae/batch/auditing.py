"""Attack a written table: what can be told of its hidden cells from the sums between its figures."""

from __future__ import annotations

from pathlib import Path

from sae.batch.spec import read_text, toml_tables
from sae.disclosure import Audit, PrimaryRules, audit
from sae.tables import read_table, require

__all__ = ["audit_file"]


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
