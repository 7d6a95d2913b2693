"""Indicators of registers: rates of two counts, summed to every level and group, without sampling error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from sae.auxiliary import AreaFile, open_areas
from sae.batch.hints import reading
from sae.batch.production.sections import RegisterSection
from sae.batch.production.spec import ProductionFile
from sae.batch.production.surveys import larger_areas_of
from sae.errors import SaeInputError, name_some
from sae.indicators import REGISTRY, register_rate

__all__ = ["WITHOUT_SAMPLE", "read_registers", "register_rows"]

WITHOUT_SAMPLE = "figure of a register, judged by the numbers of persons behind it"


def read_registers(file: ProductionFile, paths: Mapping[str, Sequence[Path]]) -> dict[str, pd.DataFrame]:
    """Read the long tables of the registers by name, as `sae.indicators.register_rate` takes them."""
    return {name: _read(file.registers[name], of) for name, of in paths.items()}


def _read(entry: RegisterSection, paths: Sequence[Path]) -> pd.DataFrame:
    with reading("[register]"):
        keys = ["area", "year", entry.group, "indicator"]
        tables = [open_areas(path, **entry.reading).table(keys) for path in paths]
    return pd.concat(tables, ignore_index=True)


def register_rows(
    file: ProductionFile, table: pd.DataFrame, name: str, group: str, areas: AreaFile | None
) -> tuple[list[pd.DataFrame], dict[str, str]]:
    """Return the rows of an indicator at every level and group, and what cannot be told, with the reason.

    Parameters
    ----------
    file : ProductionFile
    table : DataFrame
        As `read_registers` returns it; `area` holds the smallest areas.
    name : str
        The indicator.
    group : str
        Column of the group.
    areas : AreaFile, optional
        In which larger unit an area lies.
    """
    rates = register_rate(table, name, group=group)
    frames, untold, homes = [], {}, {}
    for level, column in file.production.levels.items():
        try:
            homes[level] = _homes(file, rates["area"], column, areas)
        except SaeInputError as error:
            untold[f"{name}, {level}"] = error.what
    for level in homes:
        for groups in file.production.groups:
            if [*groups] not in ([], [group]):
                untold[f"{name}, {' × '.join([level, *groups])}"] = f"the register tells {group} only"
                continue
            frames.append(_summed(rates.assign(geo=homes[level]), name, level, groups))
            later = [*homes][[*homes].index(level) + 1 :]
            larger = {f"in {one}": dict(zip(homes[level], homes[one], strict=True)) for one in later}
            frames[-1] = frames[-1].assign(**{key: frames[-1]["geo"].map(of) for key, of in larger.items()})
    return frames, untold


def _homes(file: ProductionFile, area: pd.Series, column: str, areas: AreaFile | None) -> pd.Series:
    own = file.production.levels[file.lowest]
    if not column or column == own:
        return area if column else pd.Series("", index=area.index)
    if areas is None or not {own, column} <= set(areas.cells):
        raise SaeInputError(f"it is not known in which {column} an area lies")
    homes = area.map(larger_areas_of(areas, own, column))
    if homes.isna().any():
        raise SaeInputError(f"it is not known in which {column} {name_some(area[homes.isna()].unique())} lie")
    return homes


def _summed(rates: pd.DataFrame, name: str, level: str, groups: Sequence[str]) -> pd.DataFrame:
    keys = ["geo", *groups, "year"]
    sums = rates.groupby(keys, sort=True)[["numerator", "denominator"]].sum().reset_index()
    parts = [sums[key].astype(str) for key in ("geo", *groups) if (sums[key] != "").all()]
    domain = parts[0] if parts else pd.Series("all", index=sums.index)
    for part in parts[1:]:
        domain = domain + " / " + part
    one = REGISTRY[name]
    return sums[["geo", *groups]].assign(
        level=level,
        time=sums["year"].astype(str),
        domain=domain,
        indicator=name,
        definition=one.definition,
        unit=one.unit,
        estimate=sums["numerator"] / sums["denominator"],
        counted=sums["denominator"],
        in_sample=False,
        method="register",
        why=WITHOUT_SAMPLE,
    )
