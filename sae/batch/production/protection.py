"""What may leave the office of a production: what others would tell, registers by their counts."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
import pandas as pd

from sae.batch.production.judging import judged, marked
from sae.batch.production.spec import ProductionFile
from sae.publish.linked import further_rows, with_hidden
from sae.quality import Policy, load_policy
from sae.tables import EstimateTable

__all__ = ["protected_production", "with_further"]

_LEAST = 3  # persons behind a figure of a register, where the policy has no rule of confidentiality


def with_further(
    rows: pd.DataFrame, breaks: Mapping[str, Mapping[str, int]], file: ProductionFile
) -> pd.DataFrame:
    """Give the rows of indicators a column `further`: hidden so that others do not tell a confidential one.

    Parameters
    ----------
    rows : DataFrame
        With the columns of `sae.batch.production.links.with_links`.
    breaks : mapping of str to mapping
        Of each indicator that was accepted across some.
    file : ProductionFile
    """
    if not rows["estimate"].notna().any():
        return rows.assign(further=False)
    table = marked(judged(rows, file), breaks)
    return rows.assign(further=further_rows(table, _links(rows, file), [*file.production.levels]))


def _links(rows: pd.DataFrame, file: ProductionFile) -> pd.DataFrame:
    names = ["counted", "weight", *(f"in {level}" for level in [*file.production.levels][1:])]
    links = rows.reindex(columns=[*names, *(["shares"] if "shares" in rows else [])])
    return links.assign(weight=links["weight"].fillna(links["counted"]))


def protected_production(
    table: EstimateTable, rows: pd.DataFrame, file: ProductionFile
) -> tuple[EstimateTable, pd.DataFrame]:
    """Return the judged table with the figures of registers judged, and with what must be hidden for others.

    The second is what links its rows, as `sae.publish.linked.protected` takes it.

    Parameters
    ----------
    table : EstimateTable
    rows : DataFrame
        Beside them, with `further` of surveys' indicators and what links them.
    file : ProductionFile
    """
    links = _links(rows, file)
    further = rows.reindex(columns=["further"])["further"].eq(True).to_numpy(dtype=bool, copy=True)
    register = table["method"].eq("register").to_numpy(dtype=bool)
    if register.any():
        policy = load_policy(file.publish.policy)
        least = _least(policy)
        table = _judged_registers(table, register, links["counted"].to_numpy(dtype=float), least, policy)
        links["reach"] = (least / links["counted"]).where(register)
        own = EstimateTable(table.frame[register].reset_index(drop=True), table.groups)
        linked = links[register].reset_index(drop=True)
        further[register] = further_rows(own, linked, [*file.production.levels])
    return with_hidden(table, further), links


def _least(policy: Policy) -> int:
    """Return the least number of persons behind a figure of a register."""
    rules = [rule for rule in policy.rules if rule.measure == "n" and rule.purpose == "confidentiality"]
    return max((ceil(rule.suppress_below or 0) for rule in rules), default=_LEAST)


def _judged_registers(
    table: EstimateTable, register: np.ndarray, counted: np.ndarray, least: int, policy: Policy
) -> EstimateTable:
    """Judge the figures of registers by the numbers of persons: of the cell, of the rate and of the rest."""
    frame = table.frame
    estimate = frame["estimate"].to_numpy(dtype=float)
    upper = np.rint(estimate * counted)
    few = np.zeros(len(frame), dtype=bool)
    for persons in (counted, upper, counted - upper):
        few |= register & (persons > 0) & (persons < least)
    absent = register & np.isnan(estimate)
    reason = frame["reason"].to_numpy(dtype=object).copy()
    reason[few] = [f"{text}; fewer than {least} persons" for text in reason[few]]
    good, _, hidden = policy.words
    return table.assign(
        publishable=frame["publishable"].mask(register, ~(few | absent)),
        flag=frame["flag"].mask(register, "").mask(few, ":c").mask(absent, ":"),
        reliability=frame["reliability"].mask(register, good).mask(few | absent, hidden),
        reason=pd.Series(reason, frame.index, dtype="string"),
    )
