"""The quality report of a run: the headings of SIMS 2.0, what is not given named as such."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae.errors import name_some
from sae.publish.report_catalogue import Catalogue
from sae.publish.report_rows import ReportRows
from sae.publish.report_sentences import indicator_text, value_text
from sae.quality import load_policy, policy_names

__all__ = ["policy_title", "quality_rows"]


def policy_title(names: tuple[str, ...]) -> str:
    """Return what the policies of a table are called in words."""
    known = policy_names()
    return name_some(load_policy(name).title if name in known else name for name in names)


def quality_rows(rows: ReportRows, about: Mapping[str, Any], words: Catalogue) -> list[tuple[str, str, str]]:
    """Return number, heading and text of each concept of the quality report.

    Parameters
    ----------
    rows : ReportRows
    about : mapping
        As in `answers`, with the number of ``warnings`` of the fit.
    words : Catalogue
    """
    known = policy_names()
    sources = [
        f"{load_policy(name).title}: {load_policy(name).source}." for name in rows.policies if name in known
    ]
    european = any(name.startswith("eurostat") for name in rows.policies)
    law = " ".join([*sources, *([words("says_law")] if european else [])])
    every = [one.frame for one in rows.slices]
    total, shown = sum(len(frame) for frame in every), sum(int(frame["shown"].sum()) for frame in every)
    secret = sum(int(frame["flag"].str.startswith(":c").sum()) for frame in every)
    breaks = sum(int(frame["flag"].str.endswith("b").sum()) for frame in every)
    indicators = list(dict.fromkeys(indicator_text(one.indicator, words) for one in rows.slices))
    units = _units(rows, words)
    definitions = [
        text.rstrip(".")
        for text in dict.fromkeys(one.definition for one in rows.slices)
        if text not in ("", "<NA>")
    ]
    subject = words("by", indicators=words.names(indicators), place=value_text("", rows.area, words))
    defined = (
        words("says_definition", names=words.names(definitions))
        if definitions
        else words("says_no_definition")
    )
    missing, level = words("not_given"), words.figure(about["level"], "share")
    source = words("where_source", source=about["source"]) if about["source"] else words("where_none")
    texts = {
        "contact": missing,
        "update": missing,
        "presentation": f"{subject}. {defined}",
        "unit": words.names(units) + "." if units else missing,
        "reference_period": words.names(about["times"], 12) + "." if about["times"] else missing,
        "mandate": law or missing,
        "confidentiality": words("says_secret", secret=words.number(secret), total=words.number(total)),
        "release": words("says_release", policy=about["policy"]),
        "frequency": missing,
        "accessibility": words("says_access"),
        "management": words("says_warnings", count=about["warnings"])
        if about["warnings"]
        else words("says_no_warnings"),
        "relevance": words("says_shown", shown=words.number(shown), total=words.number(total)),
        "accuracy": words("says_accuracy", level=level, method=about["method"]),
        "timeliness": missing,
        "coherence": words("says_breaks", count=words.number(breaks)) if breaks else words("says_no_breaks"),
        "burden": words("says_burden"),
        "revision": words("says_run", run=about["run"]) if about["run"] else missing,
        "processing": words("says_processing", source=source, method=about["method"]),
        "comment": words("says_nothing"),
    }
    return [(f"S.{number}", words(key), text) for number, (key, text) in enumerate(texts.items(), 1)]


def _units(rows: ReportRows, words: Catalogue) -> list[str]:
    """Return the units; with their indicators where these differ, for one may have none."""
    units_of: dict[str, dict[str, None]] = {}
    for one in rows.slices:
        unit = "" if one.unit == "<NA>" else words.term(one.unit)
        units_of.setdefault(unit, {})[indicator_text(one.indicator, words)] = None
    if len(units_of) == 1:
        return list(filter(None, units_of))
    return [f"{unit} ({words.names(names)})" for unit, names in units_of.items() if unit]
