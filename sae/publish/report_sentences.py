"""The sentences of a report: one catalogue, and what fills it from the rows that are shown."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import name_some
from sae.indicators import REGISTRY
from sae.publish.report_rows import Slice

__all__ = [
    "CATALOGUE",
    "QUESTIONS",
    "answers",
    "city_sentences",
    "figure_text",
    "indicator_text",
    "range_text",
    "reference_text",
]

QUESTIONS = (
    ("high", "How high is it?"),
    ("sure", "How sure are we?"),
    ("whom", "How do we compare, and with whom?"),
    ("when", "Since when?"),
    ("not", "What may I not conclude?"),
    ("where", "Where do the figures come from?"),
)

CATALOGUE: Mapping[str, str] = tomllib.loads(
    (files("sae.publish") / "templates" / "sentences.toml").read_text(encoding="utf-8")
)


def figure_text(value: float, unit: str) -> str:
    r"""Return a published figure in words: "62.3 %" of a share, thousands grouped otherwise.

    Examples
    --------
    >>> from sae.publish.report_sentences import figure_text
    >>> figure_text(0.623, "share"), figure_text(0.62, "share"), figure_text(18_200.0, "EUR")
    ('62.3\xa0%', '62\xa0%', '18,200 EUR')
    """
    if unit == "share":
        return f"{100 * value:.1f}".removesuffix(".0") + "\u00a0%"
    return f"{value:,.10g}" + (f" {unit}" if unit not in ("", "<NA>") else "")


def range_text(low: float, high: float, unit: str) -> str:
    """Return the width of a range: percentage points of a share."""
    if unit == "share":
        return f"{100 * (high - low):.1f}".removesuffix(".0") + " percentage points"
    return figure_text(float(f"{high - low:.6g}"), unit)


def indicator_text(name: str) -> str:
    """Return an indicator as a sentence begins: by its label, where it is one of the registry."""
    text = REGISTRY[name].label if name in REGISTRY else name.replace("_", " ")
    return text[:1].upper() + text[1:] or "The figure"


def reference_text(one: Slice) -> str:
    """Return what the areas are compared with, and its figure."""
    key = "national" if one.national else "median"
    return CATALOGUE[key].format(figure=figure_text(float(f"{one.reference:.6g}"), one.unit))


def _areas(count: int) -> str:
    return f"{count} {'area' if count == 1 else 'areas'}"


def answers(one: Slice, about: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers to the six questions, from the rows that are shown.

    Parameters
    ----------
    one : Slice
    about : mapping
        ``level`` of the intervals, ``policy`` (its title), ``source``, ``method``, ``run``, ``times`` (all
        periods of the report, in order), ``group`` (the other values of the selection).
    """
    rows, shown = one.frame, one.shown
    words = {"indicator": indicator_text(one.indicator), "group": about["group"], "rows": len(rows)}
    out = {
        "when": _when(one, about),
        "where": _where(about),
        "not": CATALOGUE["not"].format(
            model=CATALOGUE["not_model"] if shown["flag"].str.startswith("e").any() else ""
        ),
    }
    if shown.empty:
        text = CATALOGUE["none"].format(**words)
        return {name: out.get(name, text) for name, _ in QUESTIONS}
    first, last = shown.iloc[0], shown.iloc[-1]
    width = shown["ci_high"] - shown["ci_low"]
    widest = shown.iloc[int(np.nanargmax(width))] if width.notna().any() else first
    counts = shown["reliability"].value_counts()
    classes = [f"{word or 'not classed'}: {_areas(int(count))}" for word, count in counts.items()]
    out["high"] = CATALOGUE["high" if len(shown) > 1 else "high_one"].format(
        **words,
        highest=figure_text(first["estimate"], one.unit),
        highest_area=first["area"],
        lowest=figure_text(last["estimate"], one.unit),
        lowest_area=last["area"],
        shown=len(shown),
        median=figure_text(float(f"{shown['estimate'].median():.6g}"), one.unit),
    )
    out["sure"] = CATALOGUE["sure" if len(shown) < len(rows) else "sure_all"].format(
        **words,
        level=f"{100 * about['level']:.4g}\u00a0%",
        width=range_text(0.0, float(width.median()), one.unit),
        widest=range_text(widest["ci_low"], widest["ci_high"], one.unit),
        widest_area=widest["area"],
        policy=about["policy"],
        classes=", ".join(classes),
        hidden=len(rows) - len(shown),
    )
    out["whom"] = CATALOGUE["whom"].format(
        reference=reference_text(one),
        above=int((shown["side"] > 0).sum()),
        below=int((shown["side"] < 0).sum()),
        same=int((shown["side"] == 0).sum()),
        ranks=_ranks(one),
    )
    return {name: out[name] for name, _ in QUESTIONS}


def _ranks(one: Slice) -> str:
    shown, text = one.shown, ""
    if len(shown) > 1 and shown["rank_low"].notna().all():
        fifth = int(np.ceil(0.2 * len(shown)))
        first = shown["area"][shown["rank_high"] <= fifth]
        last = shown["area"][shown["rank_low"] > len(shown) - fifth]
        both = [f"highest: {name_some(first)}"] * (len(first) > 0) + [f"lowest: {name_some(last)}"] * (
            len(last) > 0
        )
        names = f" ({'; '.join(both)})" if both else ""
        text += CATALOGUE["whom_ranks"].format(
            first=len(first) or "none", last=len(last) or "none", names=names
        )
    if one.pairs is not None:
        pairs = len(shown) * (len(shown) - 1) // 2
        told = int(np.abs(np.triu(one.pairs)).sum())
        text += CATALOGUE["whom_pairs"].format(pairs=pairs, same_pairs=pairs - told)
    return text


def _when(one: Slice, about: Mapping[str, Any]) -> str:
    times = about["times"]
    definition = (
        CATALOGUE["definition"].format(definition=one.definition)
        if one.definition not in ("", "<NA>")
        else ""
    )
    count = int(one.frame["flag"].str.endswith("b").sum())
    breaks = CATALOGUE["breaks"].format(count=count) if count else ""
    if one.time in ("", "<NA>"):
        return CATALOGUE["when_none"].format(definition=definition)
    key = "when" if len(times) > 1 else "when_one"
    return CATALOGUE[key].format(
        time=one.time,
        periods=len(times),
        oldest=times[0],
        newest=times[-1],
        breaks=breaks,
        definition=definition,
    )


def _where(about: Mapping[str, Any]) -> str:
    source = CATALOGUE["where_source" if about["source"] else "where_none"].format(source=about["source"])
    return CATALOGUE["where"].format(
        source=source,
        method=CATALOGUE["method"].format(method=about["method"]),
        policy=CATALOGUE["policy"].format(title=about["policy"]),
        run=CATALOGUE["run"].format(run=about["run"]) if about["run"] else "",
    )


def city_sentences(
    one: Slice, row: pd.Series, about: Mapping[str, Any], lacking: int | None
) -> dict[str, str]:
    """Return what is said of one area, "" where it does not apply: ``high, range, sure, whom, not, lack``."""
    out = dict.fromkeys(("high", "range", "sure", "whom", "not", "lack"), "")
    reference, area = reference_text(one) if np.isfinite(one.reference) else "", row["area"]
    if not row["shown"]:
        out["high"] = CATALOGUE["city_hidden"].format(area=area, reason=row["reason"])
        secret = str(row["flag"]).startswith(":c")
        key = "city_lack" if lacking else "city_lack_secret" if secret else "city_lack_unknown"
        out["lack"] = CATALOGUE[key].format(extra=f"{lacking or 0:,}")
        return out
    out["high"] = CATALOGUE["city_high"].format(
        indicator=indicator_text(one.indicator),
        group=about["group"],
        area=area,
        figure=figure_text(row["estimate"], one.unit),
    )
    if np.isfinite(row["ci_low"]):
        low, high = (figure_text(row[name], one.unit) for name in ("ci_low", "ci_high"))
        out["range"] = CATALOGUE["city_range"].format(
            low=low, high=high, level=f"{100 * about['level']:.4g}\u00a0%"
        )
    out["sure"] = CATALOGUE["city_sure"].format(reliability=row["reliability"], policy=about["policy"])
    side = {1: "city_above", -1: "city_below", 0: "city_same"}[int(row["side"])]
    out["whom"] = CATALOGUE[side].format(reference=reference)
    if not pd.isna(row["rank_low"]):
        out["whom"] += " " + CATALOGUE["city_rank"].format(
            shown=len(one.shown), low=int(row["rank_low"]), high=int(row["rank_high"])
        )
    model = CATALOGUE["city_model"] if str(row["flag"]).startswith("e") else ""
    out["not"] = model + CATALOGUE["city_not"]
    return out
