"""Rates: with its population a rate tells its numerator, so the counts behind it are the cells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.disclosure.auditing import Audit, attack_table, hidden_rows
from sae.disclosure.hierarchy import Hierarchies, Hierarchy
from sae.disclosure.linked import LinkedTable, linked_table
from sae.disclosure.protection import STATUS, refuse_answered, with_status
from sae.disclosure.rules import PrimaryRules, Requirement, Sensitive, sensitive_cells
from sae.disclosure.suppression import suppress
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import pandas_frame, require, to_numbers

__all__ = ["audit_rates", "protect_rates", "rate_cells"]

PARTS = ("numerator", "rest", "denominator")


def rate_cells(
    frame: pd.DataFrame,
    hierarchies: Hierarchies,
    *,
    numerator: str,
    denominator: str,
    persons: tuple[str, str] | None = None,
) -> tuple[pd.DataFrame, dict[str, Hierarchy]]:
    """Return the counts behind a table of rates as cells: numerator + rest = denominator.

    Parameters
    ----------
    frame : DataFrame
        One row per rate.
    hierarchies : mapping of str to mapping
        As in `protect`.
    numerator, denominator : str
        Columns of the (weighted) numbers of persons.
    persons : (str, str), optional
        Columns of the records behind numerator and denominator, where these are weighted.

    Returns
    -------
    cells : DataFrame
        The dimensions, ``part``, ``value`` and ``persons``; three rows for each row of `frame`, in its order.
    hierarchies : dict
        Those given, and that of ``part``.

    Raises
    ------
    SaeInputError
        If a column or a number is missing, or a numerator exceeds its denominator.

    Examples
    --------
    >>> rates = pd.DataFrame({"area": ["A"], "unemployed": [4], "active": [50]})
    >>> cells, sums = sae.disclosure.rate_cells(
    ...     rates, {"area": {}}, numerator="unemployed", denominator="active"
    ... )
    >>> cells["value"].tolist(), sums["part"]
    ([4.0, 46.0, 50.0], {'denominator': ['numerator', 'rest']})
    """
    frame = pandas_frame(frame, "The rates")
    require(frame, [*hierarchies], "The table has")
    if "part" in hierarchies:
        raise SaeSpecError(
            "A dimension is called part, as that of the cells behind a rate.", hint="Rename it."
        )
    pairs = [(numerator, denominator), persons or (numerator, denominator)]
    columns = {}
    for name, (upper, lower) in zip(("value", "persons"), pairs, strict=True):
        top, base = to_numbers(frame, upper), to_numbers(frame, lower)
        bad = ~((top >= 0) & (top <= base))
        if bad.any():
            rows = np.flatnonzero(bad) + 1
            raise SaeInputError(
                f"{upper} is missing, negative or larger than {lower} in {len(rows)} rows: "
                f"row {name_some(rows)}.",
                hint="The numerator counts some of those of the denominator.",
                column=upper,
            )
        columns[name] = np.column_stack([top, base - top, base]).ravel()
    cells = frame[[*hierarchies]].iloc[np.repeat(np.arange(len(frame)), 3)].reset_index(drop=True)
    cells = cells.assign(part=np.tile(PARTS, len(frame)), **columns)
    return cells, {**hierarchies, "part": {PARTS[2]: list(PARTS[:2])}}


@answered
def protect_rates(
    frame: pd.DataFrame,
    hierarchies: Hierarchies,
    *,
    numerator: str,
    denominator: str,
    rules: PrimaryRules,
    persons: tuple[str, str] | None = None,
    known: bool = True,
) -> pd.DataFrame:
    """Decide which rates are published, so that no hidden numerator can be told from the others.

    A rate is sensitive where its numerator, the rest or the denominator is; with ``zeros=True`` also at 0 and
    100 %, which tell something of every person of the cell.

    Parameters
    ----------
    frame : DataFrame
        One row per rate.
    hierarchies, numerator, denominator, persons
        As in `rate_cells`.
    rules : PrimaryRules
        ``persons`` and ``zeros``; the others have no meaning for rates.
    known : bool
        Whether everybody knows the denominators (populations of a register), or they appear in this table
        only and can be hidden with the rate.

    Returns
    -------
    DataFrame
        As of `protect`; ``width`` is that of the narrowest hidden cell behind the rate, in persons. Where the
        denominator is known and smaller than the least number, no more than the denominator is needed.

    Raises
    ------
    SaeSpecError, SaeInputError
        As `protect` and `rate_cells`.

    Examples
    --------
    >>> rates = pd.DataFrame(
    ...     {"area": ["A", "B", "C", "all"], "unemployed": [2, 30, 40, 72], "active": [50, 400, 600, 1050]}
    ... )
    >>> done = sae.disclosure.protect_rates(
    ...     rates,
    ...     {"area": {"all": ["A", "B", "C"]}},
    ...     numerator="unemployed",
    ...     denominator="active",
    ...     rules=sae.disclosure.PrimaryRules(persons=5),
    ... )
    >>> done["status"].tolist()
    ['primary', 'secondary', 'published', 'published']
    """
    frame = pandas_frame(frame, "The rates")
    refuse_answered(frame)
    table, sensitive, always = _judged(frame, hierarchies, numerator, denominator, rules, persons, known)
    return _by_rate(frame, with_status(table, sensitive, suppress(table, sensitive, known=always)))


@answered
def audit_rates(
    frame: pd.DataFrame,
    hierarchies: Hierarchies,
    *,
    numerator: str,
    denominator: str,
    status: str,
    rules: PrimaryRules,
    persons: tuple[str, str] | None = None,
    known: bool = True,
    limit: int = 5000,
    seed: int | np.random.Generator | None = None,
) -> Audit:
    """Attack a table of rates: what can be told of the numerators that hidden rates stand on.

    Parameters
    ----------
    frame : DataFrame
        One row per rate, with all its figures.
    hierarchies, numerator, denominator, rules, persons, known
        As in `protect_rates`.
    status : str
        Column that says which rates are hidden, as in `audit`.
    limit, seed
        As in `audit`.

    Returns
    -------
    Audit
        Of the cells of `rate_cells`.

    Examples
    --------
    >>> rates = pd.DataFrame(
    ...     {
    ...         "area": ["A", "B", "all"],
    ...         "unemployed": [2, 30, 32],
    ...         "active": [50, 400, 450],
    ...         "hidden": [True, False, False],
    ...     }
    ... )
    >>> found = sae.disclosure.audit_rates(
    ...     rates,
    ...     {"area": {"all": ["A", "B"]}},
    ...     numerator="unemployed",
    ...     denominator="active",
    ...     status="hidden",
    ...     rules=sae.disclosure.PrimaryRules(persons=5),
    ... )
    >>> found.failing[["area", "part", "low", "high"]].values.tolist()
    [['A', 'numerator', 2.0, 2.0]]
    """
    frame = pandas_frame(frame, "The rates")
    hidden_rates = hidden_rows(frame, numerator, status)
    table, sensitive, always = _judged(frame, hierarchies, numerator, denominator, rules, persons, known)
    hidden = np.repeat(hidden_rates, 3)[table.rows]
    if always is not None:
        hidden &= ~always
    return attack_table(
        table, [*hierarchies, "part"], hidden, sensitive.required, sensitive.cells, limit=limit, seed=seed
    )


def _judged(
    frame: pd.DataFrame,
    hierarchies: Hierarchies,
    numerator: str,
    denominator: str,
    rules: PrimaryRules,
    persons: tuple[str, str] | None,
    known: bool,
) -> tuple[LinkedTable, Sensitive, np.ndarray | None]:
    """Return the cells behind rates, what the rules make of them, and the known ones."""
    if rules.persons is None or rules.households or rules.contributions:
        raise SaeSpecError(
            "Rates are judged by numbers of persons.",
            hint="Give PrimaryRules(persons=10), with zeros=True if need be.",
        )
    cells, sums = rate_cells(
        frame, hierarchies, numerator=numerator, denominator=denominator, persons=persons
    )
    table = linked_table(cells, sums, "value")
    sensitive = sensitive_cells(table, rules, persons="persons" if persons else None)
    if not known:
        return table, sensitive, None
    always = cells["part"].eq(PARTS[2]).to_numpy()[table.rows]
    base = np.repeat(cells["value"].to_numpy()[2::3], 3)[table.rows]
    return table, _given_populations(sensitive, always, base, table.rows // 3), always


def _given_populations(
    sensitive: Sensitive, known: np.ndarray, base: np.ndarray, rate: np.ndarray
) -> Sensitive:
    """Hide what small known populations consist of, and require no more than they leave open."""
    whole = np.empty(len(known) // 3, int)
    whole[rate[known]] = np.flatnonzero(known)
    whole = whole[rate]  # the denominator of each cell
    small = sensitive.cells[whole] & ~known
    own = [reason if not known[k] else "" for k, reason in enumerate(sensitive.reasons)]
    reasons = [mine or (sensitive.reasons[whole[k]] if small[k] else "") for k, mine in enumerate(own)]
    need = sensitive.required
    width = np.where(small, np.maximum(need.width, need.width[whole]), need.width)
    return Sensitive(
        (sensitive.cells & ~known) | small,
        tuple(reasons),
        Requirement(np.minimum(width, base), need.safe, need.margin),
    )


def _by_rate(frame: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rates with the strictest answer to the three cells of each."""
    status = cells["status"].to_numpy().reshape(-1, 3)
    primary, hidden = (status == STATUS[1]).any(axis=1), (status != STATUS[0]).any(axis=1)
    reasons = cells["reason"].to_numpy().reshape(-1, 3)
    decisive = np.where(primary[:, None], status == STATUS[1], status != STATUS[0])
    width = np.where(status != STATUS[0], cells["width"].to_numpy().reshape(-1, 3), np.inf).min(axis=1)
    return frame.assign(
        status=np.where(primary, STATUS[1], np.where(hidden, STATUS[2], STATUS[0])).astype(object),
        reason=[
            "; ".join(
                dict.fromkeys(
                    f"{part}: {reason}" for part, reason, mine in zip(PARTS, row, use, strict=True) if mine
                )
            )
            for row, use in zip(reasons, decisive, strict=True)
        ],
        needed=cells["needed"].to_numpy().reshape(-1, 3).max(axis=1),
        width=np.where(hidden, width, 0.0),
    )
