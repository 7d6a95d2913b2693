"""The quality report of a run: the headings of SIMS 2.0, what is not given named as such."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae.errors import name_some
from sae.publish.report_rows import ReportRows
from sae.publish.report_sentences import indicator_text
from sae.quality import load_policy, policy_names

__all__ = ["policy_title", "quality_rows"]

_MISSING = "Not given."
_FUTURE = (
    "From 2028 Regulation (EU) 2025/2458 on population and housing statistics allows documented estimation "
    "methods (Art. 3(6))."
)


def policy_title(names: tuple[str, ...]) -> str:
    """Return what the policies of a table are called in words."""
    known = policy_names()
    return name_some(load_policy(name).title if name in known else f"the policy {name!r}" for name in names)


def quality_rows(rows: ReportRows, about: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return number, heading and text of each concept of the quality report.

    Parameters
    ----------
    rows : ReportRows
    about : mapping
        As in `answers`, with the number of ``warnings`` of the fit.
    """
    known = policy_names()
    sources = [f"{name}: {load_policy(name).source}." for name in rows.policies if name in known]
    law = " ".join(
        [*sources, *([_FUTURE] if any(name.startswith("eurostat") for name in rows.policies) else [])]
    )
    every = [one.frame for one in rows.slices]
    total, shown = sum(len(frame) for frame in every), sum(int(frame["shown"].sum()) for frame in every)
    secret = sum(int(frame["flag"].str.startswith(":c").sum()) for frame in every)
    breaks = sum(int(frame["flag"].str.endswith("b").sum()) for frame in every)
    indicators = list(dict.fromkeys(indicator_text(one.indicator) for one in rows.slices))
    units = list(dict.fromkeys(one.unit for one in rows.slices))
    definitions = [
        text for text in dict.fromkeys(one.definition for one in rows.slices) if text not in ("", "<NA>")
    ]
    texts = {
        "Contact": _MISSING,
        "Metadata update": _MISSING,
        "Statistical presentation": f"{name_some(indicators)} by {rows.area}. "
        + (f"Definition: {name_some(definitions)}." if definitions else "Definition: not given."),
        "Unit of measure": name_some(units) + ".",
        "Reference period": name_some(about["times"], 12) + "." if about["times"] else _MISSING,
        "Institutional mandate": law or _MISSING,
        "Confidentiality": f"{secret} of {total} rows are confidential: not in this file.",
        "Release policy": f"What may be shown follows {about['policy']}.",
        "Frequency of dissemination": _MISSING,
        "Accessibility and clarity": "This page needs no network; the rows shown can be downloaded as CSV.",
        "Quality management": f"Notes and warnings of the fit: {about['warnings']}, in the record of the run."
        if about["warnings"]
        else "No warnings of a fit were given.",
        "Relevance": f"{shown} of {total} rows have a figure that may be shown.",
        "Accuracy and reliability": f"Every range is of {100 * about['level']:.4g} %. {about['method']}.",
        "Timeliness and punctuality": _MISSING,
        "Coherence and comparability": f"{breaks} rows are marked with a break in the series."
        if breaks
        else "No row is marked with a break in the series.",
        "Cost and burden": "See the section on what is missing.",
        "Data revision": f"Run {about['run']}: the same inputs give the same figures."
        if about["run"]
        else _MISSING,
        "Statistical processing": f"{about['source'] or 'Source not given'}. {about['method']}.",
        "Comment": "None.",
    }
    return [(f"S.{number}", heading, text) for number, (heading, text) in enumerate(texts.items(), 1)]
