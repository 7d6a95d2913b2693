"""A page per city: one screen with its figure, range, peers, origin, and what it cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.publish.report_page import about_of, environment, group_of, markup, template
from sae.publish.report_rows import Slice, report_rows
from sae.publish.report_sentences import (
    answers,
    city_sentences,
    figure_text,
    indicator_text,
    reference_text,
)
from sae.results import Result
from sae.tables import EstimateTable, whole_file

__all__ = ["city_page"]

_WIDTH, _PAD = 150, 8  # units of a bar
_PEERS = 4  # neighbours by figure, where no peers are given


def city_page(
    data: Result | EstimateTable,
    city: str,
    path: str | Path,
    *,
    peers: Sequence[str] = (),
    select: Mapping[str, str] | None = None,
    area: str | None = None,
    names: Mapping[str, str] | None = None,
    national: float | Mapping[Any, float] | None = None,
    source: str = "",
    seed: int | None = None,
    level: float | None = None,
) -> Path:
    """Write the page of one city: an HTML file without scripts, from published rows only.

    Parameters
    ----------
    data : Result or EstimateTable
        Flagged.
    city : str
        Code of the area.
    path : str or Path
        The file, ending in ``.html``.
    peers : sequence of str
        Codes of the areas to stand beside it, such as those of `sae.compare`.
    select : mapping of str to str, optional
        Values of the columns by which a reader of the report chooses: indicator, time, group. By default
        the newest period of the first of the others.
    area, names, national, source, seed, level
        As in `report`.

    Returns
    -------
    Path

    Raises
    ------
    SaeInputError
        If the city or a peer is not there, or rows were not judged by a policy.
    SaeSpecError
        If `select` fits no rows.

    Examples
    --------
    >>> rows = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.61, 0.7], "se": 0.02})
    >>> rows = rows.assign(ci_low=rows["estimate"] - 0.04, ci_high=rows["estimate"] + 0.04, unit="share")
    >>> table = sae.EstimateTable(rows.assign(policy="own", publishable=True, reliability="reliable"))
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     sae.publish.city_page(table, "A", folder + "/a.html", peers=["B"]).name
    'a.html'
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise SaeInputError(f"{path.name} does not end in .html.", hint="A page is one HTML file.")
    rows = report_rows(data, area=area, national=national, names=names, seed=seed)
    one = _chosen(rows.slices, rows.picks, select or {})
    about = {**about_of(data, rows, source=source, level=level), "group": group_of(one, rows.picks)}
    row, *others = (_row(one, code) for code in (city, *peers))
    lacking = None if pd.isna(row["lacking"]) else int(row["lacking"])
    said, whole = city_sentences(one, row, about, lacking), answers(one, about)
    asked = [
        ("How do we compare?", said["whom"]),
        ("What may I not conclude?", said["not"]),
        ("Why is there no figure?", said["high"] if not row["shown"] else ""),
        ("What would it take?", said["lack"]),
        ("Since when?", whole["when"]),
        ("Where does it come from?", whole["where"]),
    ]
    near = "the areas next to it" if row["shown"] else "the highest and the lowest"
    beside = "its peers" if peers else near
    text = (
        environment()
        .from_string(template("city.html.j2"))
        .render(
            area=row["area"],
            indicator=indicator_text(one.indicator),
            group=about["group"],
            time=one.time if one.time != "<NA>" else "",
            row=row,
            said=said,
            figure=figure_text(row["estimate"], one.unit) if row["shown"] else "",
            beside=beside,
            width=_WIDTH,
            reference=reference_text(one) if np.isfinite(one.reference) else "",
            answers=[(question, answer) for question, answer in asked if answer],
            style=markup(template("report.css")),
            **_bars(one, row, others),
        )
    )
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return path


def _chosen(slices: Sequence[Slice], picks: tuple[str, ...], select: Mapping[str, str]) -> Slice:
    lost = [name for name in select if name not in picks]
    if lost:
        raise SaeSpecError(
            f"select= names {name_some(lost)}, by which there is nothing to choose.",
            hint=f"There is {name_some(picks)}." if picks else "There is one selection only; leave it out.",
        )
    for one in slices:
        if all(dict(zip(picks, one.key, strict=True))[name] == str(value) for name, value in select.items()):
            return one
    raise SaeSpecError(
        f"No rows have {name_some(f'{name} = {value}' for name, value in select.items())}.",
        hint=f"There are {name_some(' / '.join(one.key) for one in slices)}.",
    )


def _row(one: Slice, code: str) -> pd.Series:
    at = one.frame["code"].eq(str(code))
    if not at.any():
        raise SaeInputError(
            f"There is no area {code!r} among the {len(one.frame)}.",
            hint=f"Give a code, such as {name_some(one.frame['code'].sort_values())}.",
            areas=[code],
        )
    return one.frame[at].iloc[0]


def _nearest(one: Slice, row: pd.Series) -> list[pd.Series]:
    """Return the shown areas just above and below, or the first and the last of all."""
    shown = one.shown
    if not row["shown"]:
        return [shown.iloc[k] for k in dict.fromkeys((0, len(shown) - 1)) if len(shown)]
    at = int(np.flatnonzero(shown["code"].eq(row["code"]))[0])
    near = sorted(set(range(len(shown))) - {at}, key=lambda k: (abs(k - at), k))[:_PEERS]
    return [shown.iloc[k] for k in sorted(near)]


def _bars(one: Slice, row: pd.Series, peers: Sequence[pd.Series]) -> dict[str, Any]:
    """Return the bars of the city and its peers, in units of the picture."""
    rows = [row, *(peers or _nearest(one, row))]
    known = [
        float(each[name])
        for each in rows
        for name in ("estimate", "ci_low", "ci_high")
        if each["shown"] and np.isfinite(each[name])
    ]
    if not known:
        return {"bars": [], "line": None, "low_end": "", "high_end": ""}
    ends = [*known, one.reference]
    low, high = min(ends), max(ends)

    def at(value: float) -> float | None:
        if not np.isfinite(value):
            return None
        return round(_PAD + (_WIDTH - 2 * _PAD) * (value - low) / max(high - low, 1e-12), 1)

    bars = []
    for each in rows:
        bar = {
            "area": each["area"],
            "own": each is row,
            "shown": bool(each["shown"]),
            "reason": each["reason"],
        }
        if each["shown"]:
            figure = figure_text(each["estimate"], one.unit)
            ends_text = [figure_text(each[name], one.unit) for name in ("ci_low", "ci_high")]
            tone = {1: "up", -1: "down", 0: "same"}[int(each["side"])]
            bar |= {
                "figure": figure,
                "label": f"{figure}, range {ends_text[0]} to {ends_text[1]}",
                "tone": f"{tone} unsure" if "u" in str(each["flag"]) else tone,
                "at": at(each["estimate"]),
                "low": at(each["ci_low"]),
                "high": at(each["ci_high"]),
            }
        bars.append(bar)
    texts = [figure_text(float(f"{end:.6g}"), one.unit) for end in (low, high)]
    return {"bars": bars, "line": at(one.reference), "low_end": texts[0], "high_end": texts[1]}
