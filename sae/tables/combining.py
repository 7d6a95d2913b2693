"""Several tables of direct estimates of one indicator as one, with a column that tells their source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables.columns import DIRECT_COLUMNS
from sae.tables.direct import DirectEstimates
from sae.tables.joins import check_spelling
from sae.tables.labels import label_text
from sae.tables.mixing import Facts, check_mixing, check_rows, marked

__all__ = ["combine"]


def combine(
    tables: Mapping[str, DirectEstimates],
    *,
    source: str = "survey",
    accept: str | Sequence[str] = (),
) -> DirectEstimates:
    """Put direct estimates of the same indicators from several surveys, or waves, into one table.

    Parameters
    ----------
    tables : mapping of str to DirectEstimates
        By the name of their source.
    source : str
        Column that holds the names; it is the last of those that make the domains, so that a domain reads
        "AT13 / lfs".
    accept : str or sequence of str
        What is mixed by name only: the id of a break between the releases ("lfs_2021",
        "eu28_to_eu27_2020", "nuts_2016_to_2021"), or a definition other than that of the first table. All
        rows then carry a mark, in ``status`` and, once modelled, in the estimate table's ``definition``.

    Returns
    -------
    DirectEstimates
        The rows of all tables, one below the other. Covariances, where all tables have them, are those within
        the sources: their samples are taken to be independent.

    Raises
    ------
    SaeInputError
        If the tables differ in indicators, units, definitions or columns of the domains, lie across a break
        that is not accepted, or spell their labels differently; everything is named.

    Examples
    --------
    >>> def table(rate):
    ...     rows = {"indicator": "rate", "region": ["N", "S"], "domain": ["N", "S"], "estimate": rate}
    ...     return sae.DirectEstimates(pd.DataFrame(rows), ("region",))
    >>> both = sae.combine({"lfs": table([0.5, 0.6]), "silc": table([0.4, 0.5])})
    >>> both[["domain", "survey", "estimate"]].values.tolist()[1:3]
    [['S / lfs', 'lfs', 0.6], ['N / silc', 'silc', 0.4]]
    """
    named = _named(tables, source)
    accepted = frozenset([accept] if isinstance(accept, str) else accept)
    by = _same_rows(named, source)
    for table in named.values():
        check_rows(table.frame)
    breaks = check_mixing(
        [Facts.of(name, table.frame, by, table.provenance) for name, table in named.items()], accepted
    )
    units = _same_units(named)
    frame = pd.concat([_labelled(table, name, source) for name, table in named.items()], ignore_index=True)
    frame["status"] = marked(frame["status"], breaks)
    frame["definition"] = _definitions(frame)
    return DirectEstimates(
        frame,
        (*by, source),
        covariance=_covariance(named, by),
        units=units,
        log=(
            *(f"{name}: {line}" for name, table in named.items() for line in table.log),
            *(f"accepted across {one}; all rows are marked" for one in breaks),
        ),
        provenance={
            "source": source,
            "combined": {name: dict(table.provenance) for name, table in named.items()},
            "by": [*by, source],
            **_common(named),
            **({"accept": sorted(accepted)} if accepted else {}),
            **({"breaks": {name: dict.fromkeys(breaks, 0) for name in units}} if breaks else {}),
        },
    )


def _named(tables: Mapping[str, DirectEstimates], source: str) -> dict[str, DirectEstimates]:
    if not isinstance(tables, Mapping) or len(tables) < 2:
        raise SaeSpecError(
            "combine takes a mapping of at least two sources to their direct estimates.",
            hint='Write sae.combine({"lfs": direct_lfs, "silc": direct_silc}).',
        )
    odd = [str(name) for name, table in tables.items() if not isinstance(table, DirectEstimates)]
    if odd:
        raise SaeInputError(
            f"{name_some(odd)} are no DirectEstimates, as sae.direct returns them.",
            hint="Give the tables, not their frames: what they were made from stands in them.",
        )
    again = [str(name) for name, table in tables.items() if "combined" in table.provenance]
    if again:
        raise SaeInputError(
            f"{name_some(again)} are combined already.", hint="Give the tables that they were made of."
        )
    if not isinstance(source, str) or not source.strip():
        raise SaeSpecError(f"source={source!r} is no name of a column.")
    if source in DIRECT_COLUMNS:
        raise SaeSpecError(
            f"source={source!r} is a column of every table of direct estimates.",
            hint='Write "survey", or "wave".',
        )
    named = {label_text(name): table for name, table in tables.items()}
    apart = {name.strip().casefold() for name in named}
    if len(apart) < len(tables) or not all(name.strip() for name in named):
        raise SaeSpecError(f"The names of the sources are {name_some(map(repr, tables))}: give each its own.")
    return named


def _same_rows(named: Mapping[str, DirectEstimates], source: str) -> tuple[str, ...]:
    """Return the columns that make the domains of all tables, whose labels are spelt alike."""
    first, *others = named
    by = named[first].by
    if source in by:
        raise SaeInputError(
            f"{first} has a column {source!r} already.", hint="Name another with source=.", column=source
        )
    for name in others:
        if tuple(named[name].by) != tuple(by):
            raise SaeInputError(
                f"The domains of {first} are by {name_some(by) or 'nothing'}, those of {name} by "
                f"{name_some(named[name].by) or 'nothing'}.",
                hint="Estimate both with the same by=, in the same order.",
            )
    for pair in combinations(named, 2):
        check_spelling(named[pair[0]].frame, named[pair[1]].frame, by, pair)
    return by


def _same_units(named: Mapping[str, DirectEstimates]) -> dict[str, str]:
    units: dict[str, str] = {}
    for name, table in named.items():
        for indicator in table.frame["indicator"].unique():
            unit = table.units.get(indicator, "")
            known = units.setdefault(indicator, unit)
            if unit != known:
                raise SaeInputError(
                    f"{indicator} is in {known or 'an unknown unit'} in {next(iter(named))}, in "
                    f"{unit or 'an unknown unit'} in {name}.",
                    hint="Give the tables in one unit, and say it: DirectEstimates(..., units={...}).",
                )
    return units


def _labelled(table: DirectEstimates, name: str, source: str) -> pd.DataFrame:
    frame = table.frame.assign(domain=_domains(table, table.frame["domain"], name))
    frame[source] = name
    return frame


def _domains(table: DirectEstimates, domains: pd.Series, name: str) -> pd.Series:
    alone = not table.by or (domains == "all").all()
    return pd.Series(name, index=domains.index) if alone else domains + f" / {name}"


def _definitions(frame: pd.DataFrame) -> pd.Series:
    """Return one definition per indicator: accepted ones stand together."""
    together = frame.groupby("indicator")["definition"].agg(lambda texts: " and ".join(texts.unique()))
    return frame["indicator"].map(together)


def _covariance(named: Mapping[str, DirectEstimates], by: Sequence[str]) -> pd.DataFrame | None:
    parts = []
    for name, table in named.items():
        if table.covariance is None:
            return None
        keys = table.covariance.index.to_frame(index=False)
        index = pd.MultiIndex.from_frame(keys.assign(domain=_domains(table, keys["domain"], name)))
        parts.append(table.covariance.set_axis(index).set_axis(index, axis=1))
    whole = parts[0].index
    for part in parts[1:]:
        whole = whole.append(part.index)
    matrix, start = np.zeros((len(whole), len(whole))), 0
    for part in parts:
        stop = start + len(part)
        matrix[start:stop, start:stop] = part.to_numpy(dtype=float)
        start = stop
    return pd.DataFrame(matrix, index=whole, columns=whole)


def _common(named: Mapping[str, DirectEstimates]) -> dict[str, object]:
    """Return what all tables say alike of their origin."""
    kept: dict[str, object] = {}
    for key in ("release", "known_breaks"):
        facts = [dict(table.provenance.get(key, {})) for table in named.values()]
        shared = {name: value for name, value in facts[0].items() if all(f.get(name) == value for f in facts)}
        if shared:
            kept[key] = shared
    return kept
