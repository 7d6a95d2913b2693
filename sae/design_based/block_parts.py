"""The sums of some blocks as plain arrays and JSON, exact, so that they can be stored between runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from sae.design_based.block_facts import Facts, Labels
from sae.design_based.block_sums import BlockSums
from sae.errors import SaeInputError
from sae.numerics.design.keyed_sums import KeyedSums
from sae.survey import Release
from sae.survey.levels import Unlisted

__all__ = ["restored", "stored"]

_TABLE = ("keys", "totals", "present", "moments")  # arrays of `KeyedSums`, in the order of its `of`
_COUNTS = ("records", "blocks", "outside", "inside", "unknown", "repeats")
# labels that JSON does not have: their types, the narrower first, and the way there and back
_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "moment": (
        pd.Timestamp,
        lambda one: [one.isoformat(), one.unit],
        lambda one: pd.Timestamp(one[0]).as_unit(one[1]),
    ),
    "period": (
        pd.Period,
        lambda one: [one.ordinal, one.freqstr],
        lambda one: pd.Period(ordinal=one[0], freq=one[1]),
    ),
    "time": (datetime, datetime.isoformat, datetime.fromisoformat),
    "day": (date, date.isoformat, date.fromisoformat),
    "decimal": (Decimal, str, Decimal),
}


def stored(sums: BlockSums) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return sums as numeric arrays and as facts that JSON holds; orders are those of lists, not of keys.

    Raises
    ------
    SaeInputError
        If a label is neither text, a number, yes or no, a date, a time nor a period.
    """
    held, facts = {"sums": sums.sums, "persons": sums.persons}, sums.facts
    arrays = {
        f"{name}_{part}": getattr(one, part) if part == "moments" else getattr(one, part)[: one.size]
        for name, one in held.items()
        for part in _TABLE
    }
    counted = {name: list(map(list, getattr(facts, name).items())) for name in ("no_value", "notes")}
    return arrays, {
        **{name: getattr(facts, name) for name in _COUNTS},
        **counted,
        "domains": [_plain_labels(levels) for levels in sums.domains.names],
        "texts": [_plain_labels(labels.names) for labels in sums.texts],
        "levels": [
            [name, _plain_labels(levels), list(levels.values())] for name, levels in facts.levels.items()
        ],
        "missing": [[*key, count] for key, count in facts.missing.items()],
        "numbers_known": sorted(facts.numbers_known),
        "releases": [{**asdict(one), "remembered": sorted(one.remembered)} for one in facts.releases],
        "unlisted": [
            {**asdict(one), "counts": list(map(list, one.counts.items()))} for one in facts.unlisted.values()
        ],
        "repeated": list(facts.repeated),
        "fractions": sorted(facts.fractions),
    }


def restored(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> BlockSums:
    """Return the sums that were `stored`; merged with others they give the same bytes."""
    sums, persons = (
        KeyedSums.of(*(arrays[f"{name}_{part}"] for part in _TABLE)) for name in ("sums", "persons")
    )
    unlisted = [Unlisted(**{**one, "counts": dict(one["counts"])}) for one in facts["unlisted"]]
    return BlockSums(
        sums,
        Labels(tuple(_labels(levels)) for levels in facts["domains"]),
        tuple(Labels(_labels(names)) for names in facts["texts"]),
        Facts(
            **{name: facts[name] for name in _COUNTS},
            levels={
                name: dict(zip(_labels(levels), counts, strict=True))
                for name, levels, counts in facts["levels"]
            },
            missing={(j, name): count for j, name, count in facts["missing"]},
            no_value=dict(facts["no_value"]),
            numbers_known=set(facts["numbers_known"]),
            releases=dict.fromkeys(map(_release, facts["releases"])),
            notes=dict(facts["notes"]),
            unlisted={one.variable: one for one in unlisted},
            repeated=tuple(facts["repeated"]),
            fractions=set(facts["fractions"]),
        ),
        persons,
    )


def _release(facts: Mapping[str, Any]) -> Release:
    first, last = facts["years"]
    return Release(
        **{
            **facts,
            "years": (first, last),
            "age_bands": tuple(facts["age_bands"]),
            "remembered": frozenset(facts["remembered"]),
        }
    )


def _plain_labels(labels: Iterable[object]) -> list[Any]:
    return [_plain(label) for label in labels]


def _plain(label: object) -> Any:
    """Return a label as JSON holds it: itself, or its kind and what tells it."""
    value = label.item() if isinstance(label, np.generic) else label
    if value is None or type(value) in (str, bool, int, float):
        return value
    for kind, (of_type, there, _) in _KINDS.items():
        if isinstance(value, of_type):
            return {kind: there(value)}
    raise SaeInputError(
        f"The label {str(label)[:40]!r} is a {type(label).__name__}, which is not stored.",
        hint="Expected texts, numbers, dates or periods in columns of groups and of the design.",
    )


def _labels(plain: Iterable[Any]) -> list[Any]:
    return [_label(one) for one in plain]


def _label(plain: Any) -> Any:
    if not isinstance(plain, Mapping):
        return plain
    (kind, value), *_ = plain.items()
    return _KINDS[kind][2](value)
