"""The sentences of a report, filled from the rows that are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.indicators import REGISTRY
from sae.publish.report_catalogue import Catalogue
from sae.publish.report_rows import Slice

__all__ = [
    "QUESTIONS",
    "answers",
    "city_sentences",
    "group_of",
    "indicator_text",
    "reference_text",
    "value_text",
]

QUESTIONS = ("high", "sure", "whom", "when", "not", "where")
_NAMELESS = ("", "<NA>")


def indicator_text(name: str, words: Catalogue) -> str:
    """Return an indicator as a sentence begins: by its label, where it is one of the registry."""
    own = words.parts.get("indicators", {})  # of a translation; in English they are those of the registry
    text = own.get(name) or (REGISTRY[name].label if name in REGISTRY else name.replace("_", " "))
    return text[:1].upper() + text[1:] or words("figure_of")


def value_text(column: str, value: str, words: Catalogue) -> str:
    """Return a value of a selection as people read it."""
    return indicator_text(value, words) if column == "indicator" else words.term(value).replace("_", " ")


def group_of(one: Slice, picks: tuple[str, ...], words: Catalogue) -> str:
    """Return the other values of a selection, as they follow the indicator: ", foreign"."""
    parts = [part for part in zip(picks, one.key, strict=True) if part[0] not in ("indicator", "time")]
    return "".join(f", {value_text(*part, words)}" for part in parts)


def reference_text(one: Slice, words: Catalogue) -> str:
    """Return what the areas are compared with, and its figure; "" where there is nothing."""
    if not np.isfinite(one.reference):
        return ""
    figure = words.figure(float(f"{one.reference:.6g}"), one.unit)
    return words(one.kind, figure=figure)


def answers(one: Slice, about: Mapping[str, Any], words: Catalogue) -> dict[str, str]:
    """Return the answers to the six questions, from the rows that are shown.

    Parameters
    ----------
    one : Slice
    about : mapping
        ``level`` of the intervals, ``policy`` (its title), ``source``, ``method``, ``run``, ``times`` (all
        periods of the report, in order), ``group`` (the other values of the selection).
    words : Catalogue
    """
    rows, shown = one.frame, one.shown
    leaning = shown["flag"].str.startswith("e").any()
    out = {
        "when": _when(one, about, words),
        "where": _where(about, words),
        "not": words("not", model=words("not_model") if leaning else ""),
    }
    if shown.empty:
        text = words("none", rows=len(rows))
        return {name: out.get(name, text) for name in QUESTIONS}
    first, last = shown.iloc[0], shown.iloc[-1]
    out["high"] = words(
        "high" if len(shown) > 1 else "high_one",
        indicator=indicator_text(one.indicator, words),
        group=about["group"],
        highest=words.figure(first["estimate"], one.unit),
        highest_area=first["area"],
        lowest=words.figure(last["estimate"], one.unit),
        lowest_area=last["area"],
        shown=len(shown),
        median=words.figure(float(f"{shown['estimate'].median():.6g}"), one.unit),
    )
    out["sure"] = _sure(one, about, words)
    out["whom"] = words(
        "whom",
        areas=words.count("areas", len(shown)),
        reference=reference_text(one, words),
        above=int((shown["side"] > 0).sum()),
        below=int((shown["side"] < 0).sum()),
        same=int((shown["side"] == 0).sum()),
        ranks=_ranks(one, words),
    )
    return {name: out[name] for name in QUESTIONS}


def _sure(one: Slice, about: Mapping[str, Any], words: Catalogue) -> str:
    rows, shown = one.frame, one.shown
    counts = shown["reliability"].value_counts()
    classes = [
        words(
            "class_count",
            name=words.term(str(word)) or words("not_classed"),
            areas=words.count("areas", int(count)),
        )
        for word, count in counts.items()
    ]
    filled = {"policy": about["policy"], "classes": ", ".join(classes)}
    filled |= {"hidden": len(rows) - len(shown), "rows": len(rows)}
    width = shown["ci_high"] - shown["ci_low"]
    if width.isna().all():
        return words("sure_no_range", **filled)
    widest = shown.iloc[int(np.nanargmax(width))]
    return words(
        "sure" if len(shown) < len(rows) else "sure_all",
        level=words.figure(about["level"], "share"),
        width=words.width(0.0, float(width.median()), one.unit),
        widest=words.width(widest["ci_low"], widest["ci_high"], one.unit),
        widest_area=widest["area"],
        **filled,
    )


def _ranks(one: Slice, words: Catalogue) -> str:
    shown, text = one.shown, ""
    if len(shown) > 1 and shown["rank_low"].notna().all():
        fifth = int(np.ceil(0.2 * len(shown)))
        first = shown["area"][shown["rank_high"] <= fifth]
        last = shown["area"][shown["rank_low"] > len(shown) - fifth]
        text += words("whom_first", names=words.names(first)) if len(first) else ""
        text += words("whom_last", names=words.names(last)) if len(last) else ""
        text = text or words("whom_no_fifth")
    if one.pairs is not None:
        pairs = len(shown) * (len(shown) - 1) // 2
        apart = int(np.abs(np.triu(one.pairs)).sum())
        text += words("whom_pairs", pairs=words.number(pairs), same_pairs=words.number(pairs - apart))
    return text


def _when(one: Slice, about: Mapping[str, Any], words: Catalogue) -> str:
    times = about["times"]
    marked = int(one.frame["flag"].str.endswith("b").sum())
    parts = {
        "changes": _changes(one, words) if len(times) > 1 and one.time != times[0] else "",
        "breaks": words("breaks", count=words.number(marked)) if marked else "",
        "definition": _definition(one, words),
    }
    if one.time in _NAMELESS:
        return words("when_none", **parts)
    key = "when" if len(times) > 1 else "when_one"
    return words(key, time=one.time, periods=len(times), oldest=times[0], newest=times[-1], **parts)


def _definition(one: Slice, words: Catalogue) -> str:
    if one.definition in _NAMELESS:
        return ""
    return words("definition", definition=one.definition.rstrip("."))


def _changes(one: Slice, words: Catalogue) -> str:
    counts = one.shown["change"].value_counts()
    rose, fell, same, broken = (int(counts.get(name, 0)) for name in ("rose", "fell", "same", "break"))
    compared = rose + fell + same
    text = words("changes_none")
    if compared:
        areas = words.count("areas", compared)
        text = words("changes", compared=areas, rose=rose, fell=fell, same=same)
    return text + (words("changes_broken", broken=words.count("areas", broken)) if broken else "")


def _where(about: Mapping[str, Any], words: Catalogue) -> str:
    return words(
        "where",
        source=words("where_source", source=about["source"]) if about["source"] else words("where_none"),
        method=about["method"],
        policy=words("policy", title=about["policy"]),
        run=words("run", run=about["run"]) if about["run"] else "",
    )


def city_sentences(one: Slice, row: pd.Series, about: Mapping[str, Any], words: Catalogue) -> dict[str, str]:
    """Return what a page says of one area, by ``high, range, sure, whom, when, not, lack``; else ""."""
    out = dict.fromkeys(("high", "range", "sure", "whom", "when", "not", "lack"), "")
    area = row["area"]
    change = words(f"change_{row['change']}", since=row["since"]) + " " if row["change"] else ""
    key = "when_none" if one.time in _NAMELESS else "city_when"
    rest = {"changes": "", "breaks": "", "definition": _definition(one, words)}
    out["when"] = change + words(key, time=one.time, **rest)
    if not row["shown"]:
        out["high"] = words("city_hidden", area=area, reason=words.term(row["reason"]))
        lacking = None if pd.isna(row["lacking"]) else int(row["lacking"])
        secret = str(row["flag"]).startswith(":c")
        key = "city_lack" if lacking else "city_lack_secret" if secret else "city_lack_unknown"
        out["lack"] = words(key, extra=words.number(lacking or 0))
        return out
    out["high"] = words(
        "city_high",
        indicator=indicator_text(one.indicator, words),
        group=about["group"],
        area=area,
        figure=words.figure(row["estimate"], one.unit),
    )
    if np.isfinite(row["ci_low"]):
        low, high = (words.figure(row[name], one.unit) for name in ("ci_low", "ci_high"))
        out["range"] = words("city_range", low=low, high=high, level=words.figure(about["level"], "share"))
    out["sure"] = words("city_sure", reliability=words.term(row["reliability"]), policy=about["policy"])
    side = {1: "city_above", -1: "city_below", 0: "city_same"}[int(row["side"])]
    out["whom"] = words(side, reference=reference_text(one, words))
    if not pd.isna(row["rank_low"]):
        ends = {"low": int(row["rank_low"]), "high": int(row["rank_high"])}
        out["whom"] += " " + words("city_rank", shown=len(one.shown), **ends)
    model = words("city_model") if str(row["flag"]).startswith("e") else ""
    out["not"] = model + words("city_not")
    return out
