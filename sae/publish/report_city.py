"""A page per city: one screen with its figure, range, peers, origin, and what it cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.compare import peers as nearest_in
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.publish.report_catalogue import Catalogue, catalogue
from sae.publish.report_page import about_of, environment, markup, template
from sae.publish.report_rows import Slice, report_rows
from sae.publish.report_sentences import answers, city_sentences, group_of, indicator_text, reference_text
from sae.results import Result
from sae.specs import parse_terms, split_formula
from sae.tables import EstimateTable, file_path, whole_file

__all__ = ["city_page"]

_WIDTH, _PAD = 150, 8  # units of a bar
_PEERS = 4


@answered
def city_page(
    data: Result | EstimateTable,
    city: str,
    path: str | Path,
    *,
    peers: Sequence[str] = (),
    like: Sequence[str] = (),
    select: Mapping[str, str] | None = None,
    area: str | None = None,
    names: Mapping[str, str] | None = None,
    national: float | Mapping[Any, float] | None = None,
    source: str = "",
    seed: int | None = None,
    level: float | None = None,
    language: str = "en",
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
        Codes of the areas to stand beside it. By default those that `sae.compare.peers` finds among the areas
        of a fit, of a table those with the nearest figures.
    like : sequence of str
        Columns of the fit or its areas in which peers are alike: size, structure. By default the covariates.
    select : mapping of str to str, optional
        Values of the columns by which a reader of the report chooses: indicator, time, group. By default
        the newest period of the first of the others.
    area, names, national, source, seed, level, language
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
    path = file_path(path)
    if path.suffix.lower() != ".html":
        raise SaeInputError(f"{path.name} does not end in .html.", hint="A page is one HTML file.")
    words = catalogue(language)
    rows = report_rows(data, area=area, national=national, names=names, seed=seed)
    one = _chosen(rows.slices, rows.picks, select or {})
    about = {
        **about_of(data, rows, words, source=source, level=level),
        "group": group_of(one, rows.picks, words),
    }
    row = _row(one, city)
    columns = [] if peers else _columns(data, one, like)
    codes = peers or (_alike(data, one, row, columns) if columns else [])
    others = [_row(one, code) for code in codes] or _nearest(one, row)
    said, whole = city_sentences(one, row, about, words), answers(one, about, words)
    asked = [
        ("city_whom", said["whom"]),
        ("not", said["not"]),
        ("city_why", said["high"] if not row["shown"] else ""),
        ("city_take", said["lack"]),
        ("when", said["when"]),
        ("where", whole["where"]),
    ]
    near = "city_next" if row["shown"] else "city_ends"
    like_it = words("city_like", columns=words.names([name.replace("_", " ") for name in columns], 3))
    beside = words("city_peers") if peers else like_it if codes else words(near)
    text = (
        environment(words)
        .from_string(template("city.html.j2"))
        .render(
            area=row["area"],
            indicator=indicator_text(one.indicator, words),
            group=about["group"],
            time=one.time if one.time != "<NA>" else "",
            row=row,
            said=said,
            figure=words.figure(row["estimate"], one.unit) if row["shown"] else "",
            beside=beside,
            width=_WIDTH,
            reference=reference_text(one, words),
            answers=[(words(f"ask_{key}"), answer) for key, answer in asked if answer],
            style=markup(template("report.css")),
            **_bars(one, [row, *others], words),
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
        called = one.frame["code"][one.frame["area"].eq(str(code))]
        raise SaeInputError(
            f"There is no area {code!r} among the {len(one.frame)}.",
            hint=f"That is the name of {name_some(called)}: give the code."
            if len(called)
            else f"Give a code, such as {name_some(one.frame['code'].sort_values())}.",
            areas=[code],
        )
    return one.frame[at].iloc[0]


def _columns(data: Result | EstimateTable, one: Slice, like: Sequence[str]) -> list[str]:
    """Return the columns in which peers are alike: those of `like`, else the covariates that differ."""
    if not isinstance(data, Result):
        if like:
            raise SaeSpecError(
                "like= needs a fit: a table does not hold the columns of the areas.",
                hint="Give peers=, such as those of sae.compare.peers on the frame of the areas.",
            )
        return []
    if like:
        return list(like)
    out = []
    for name in parse_terms(split_formula(str(getattr(data.spec, "formula", "~ 1")))[1]).variables:
        if name not in data.estimates.frame and name not in data.areas:
            continue  # a covariate of units
        values = data.column(name).iloc[one.frame["row"]]
        known = pd.to_numeric(values, errors="coerce")
        if known.notna().all() and known.nunique() > 1:
            out.append(str(name))
    return out


def _alike(data: Result | EstimateTable, one: Slice, row: pd.Series, columns: Sequence[str]) -> list[str]:
    assert isinstance(data, Result)
    frame = pd.DataFrame({name: data.column(name).to_numpy()[one.frame["row"]] for name in columns})
    near = nearest_in(frame.assign(domain=one.frame["code"]), row["code"], columns, k=_PEERS)
    return near["domain"].tolist()[1:]


def _nearest(one: Slice, row: pd.Series) -> list[pd.Series]:
    """Return the shown areas just above and below, or the first and the last of all."""
    shown = one.shown
    if not row["shown"]:
        return [shown.iloc[k] for k in dict.fromkeys((0, len(shown) - 1)) if len(shown)]
    at = int(np.flatnonzero(shown["code"].eq(row["code"]))[0])
    near = sorted(set(range(len(shown))) - {at}, key=lambda k: (abs(k - at), k))[:_PEERS]
    return [shown.iloc[k] for k in sorted(near)]


def _bars(one: Slice, rows: Sequence[pd.Series], words: Catalogue) -> dict[str, Any]:
    """Return the bars of the city, the first, and its peers, in units of the picture."""
    known = [
        float(each[name])
        for each in rows
        for name in ("estimate", "ci_low", "ci_high")
        if each["shown"] and np.isfinite(each[name])
    ]
    if not known:
        return {"bars": [], "line": None, "low_end": "", "high_end": ""}
    ends = [*known, *([one.reference] if np.isfinite(one.reference) else [])]
    low, high = min(ends), max(ends)

    def at(value: float) -> float | None:
        if not np.isfinite(value):
            return None
        return round(_PAD + (_WIDTH - 2 * _PAD) * (value - low) / max(high - low, 1e-12), 1)

    bars = []
    for place, each in enumerate(rows):
        bar = {
            "area": each["area"],
            "own": place == 0,
            "shown": bool(each["shown"]),
            "reason": words.term(each["reason"]),
        }
        if each["shown"]:
            figure = words.figure(each["estimate"], one.unit)
            ends_text = [words.figure(each[name], one.unit) for name in ("ci_low", "ci_high")]
            tone = {1: "up", -1: "down", 0: "same"}[int(each["side"])]
            bar |= {
                "figure": figure,
                "label": words("city_bar", figure=figure, low=ends_text[0], high=ends_text[1]),
                "tone": f"{tone} unsure" if "u" in str(each["flag"]) else tone,
                "at": at(each["estimate"]),
                "low": at(each["ci_low"]),
                "high": at(each["ci_high"]),
            }
        bars.append(bar)
    texts = [words.figure(float(f"{end:.6g}"), one.unit) for end in (low, high)]
    return {"bars": bars, "line": at(one.reference), "low_end": texts[0], "high_end": texts[1]}
