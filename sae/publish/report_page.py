"""The report of a run: one HTML file that shows published rows only and needs nothing but a browser."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.publish.report_quality import policy_title, quality_rows
from sae.publish.report_rows import ReportRows, Slice, report_rows
from sae.publish.report_sentences import QUESTIONS, answers, indicator_text
from sae.results import Result
from sae.tables import EstimateTable, whole_file

__all__ = ["report"]

_SIZE = 1000  # units across a map: coarser than any screen
_LEVEL = 0.95
_UNIT = {"share": "%", "<NA>": ""}
_HEADS = {"indicator": "Indicator", "time": "Period"}


def report(
    data: Result | EstimateTable,
    path: str | Path,
    *,
    title: str = "",
    source: str = "",
    area: str | None = None,
    names: Mapping[str, str] | None = None,
    national: float | Mapping[Any, float] | None = None,
    seed: int | None = None,
    cost: float | None = None,
    currency: str = "",
    geometry: Any = None,
    key: str = "",
    level: float | None = None,
) -> Path:
    """Write a report of a flagged fit or table: one HTML file, to be read anywhere.

    It answers six questions in sentences and shows every area with its range, its ranks, who can be told
    apart from whom, what a direct estimate would say, and what is missing. Only published rows are in the
    file: of a row that may not appear there is nothing but its name and a reason without numbers.

    Parameters
    ----------
    data : Result or EstimateTable
        Flagged.
    path : str or Path
        The file, ending in ``.html``.
    title, source : str
        What it is about, and where the records come from.
    area : str, optional
        Column of the areas; by default the grouping column with most values. By the others a reader chooses.
    names : mapping of str to str, optional
        Names of areas by their code.
    national : float or mapping, optional
        The national figure to compare with; by the values of a selection where there are several. By default
        the median of the areas shown.
    seed : int, optional
        Ranks rest on random draws; without a seed there are none.
    cost : float, optional
        Price of an interview, for what is missing; `currency` names its unit.
    geometry, key
        Borders of the areas, as `sae.plots.area_map` takes them, and the property that holds their codes.
    level : float, optional
        Of the intervals of a table; a fit knows its own.

    Returns
    -------
    Path

    Raises
    ------
    SaeInputError
        If rows were not judged by a policy, an area stands twice, or the path ends in something else.
    SaeSpecError
        If an option names what the table does not have.

    Examples
    --------
    >>> rows = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.61, 0.7], "se": 0.02})
    >>> rows = rows.assign(ci_low=rows["estimate"] - 0.04, ci_high=rows["estimate"] + 0.04, unit="share")
    >>> table = sae.EstimateTable(rows.assign(policy="own", publishable=True, reliability="reliable"))
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     sae.publish.report(table, folder + "/report.html").name
    'report.html'
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise SaeInputError(f"{path.name} does not end in .html.", hint="A report is one HTML file.")
    rows = report_rows(data, area=area, national=national, names=names, seed=seed)
    known = about_of(data, rows, source=source, level=level)
    shapes = None if geometry is None else _shapes(geometry, key, rows)
    with whole_file(path) as part:
        part.write_text(_page(rows, known, title, shapes, cost, currency), encoding="utf-8", newline="\n")
    return path


def about_of(
    data: Result | EstimateTable, rows: ReportRows, *, source: str = "", level: float | None = None
) -> dict[str, Any]:
    """Return what the sentences say beside the rows: origin, method, policy, periods."""
    fit = data if isinstance(data, Result) else None
    frame = (data.estimates if isinstance(data, Result) else data).frame
    methods = [text for text in dict.fromkeys(frame["method"].dropna()) if text]
    models = [text for text in dict.fromkeys(frame["model"].dropna()) if text]
    made = name_some(methods, 3) if methods else "not given"
    formula = getattr(fit.spec, "formula", "") if fit is not None else ""
    times = sorted({one.time for one in rows.slices if one.time not in ("", "<NA>")})
    runs = [text for text in dict.fromkeys(frame["run"].dropna()) if text]
    return {
        "level": level or (fit.spec.level if fit is not None else _LEVEL),
        "policy": policy_title(rows.policies),
        "source": source.rstrip("."),
        "method": made + (f", {formula}" if formula else ""),
        "models": models,
        "run": name_some(runs, 2) if runs else "",
        "times": times,
        "joint": "The joint error of the fit stands behind ranks and pairs."
        if fit is not None
        else "For ranks and pairs the errors of the areas count as independent of each other.",
        "warnings": len(fit.messages) if fit is not None else 0,
    }


def group_of(one: Slice, picks: tuple[str, ...]) -> str:
    """Return the other values of a selection, as they follow the indicator: ", foreign"."""
    values = [v for name, v in zip(picks, one.key, strict=True) if name not in ("indicator", "time")]
    return "".join(f", {value}" for value in values)


def _page(
    rows: ReportRows,
    about: Mapping[str, Any],
    title: str,
    shapes: Mapping[str, Any] | None,
    cost: float | None,
    currency: str,
) -> str:
    said = [answers(one, {**about, "group": group_of(one, rows.picks)}) for one in rows.slices]
    indicators = list(dict.fromkeys(indicator_text(one.indicator) for one in rows.slices))
    name = title or f"{name_some(indicators, 2)} by {rows.area.replace('_', ' ')}"
    script = template("report.js")
    digest = b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")
    quality = quality_rows(rows, about)
    data = _data(rows, said, shapes, cost, currency)
    return (
        environment()
        .from_string(template("report.html.j2"))
        .render(
            title=name,
            subtitle=_subtitle(rows, about),
            questions=QUESTIONS,
            said=said[0],
            style=markup(template("report.css")),
            script=markup(script),
            digest=digest,
            data=markup(embedded(data)),
            picks=data["picks"],
            ranked=rows.ranked,
            judged=rows.judged,
            shapes=shapes is not None,
            quality=quality,
            about=about,
            coverage=_coverage(rows),
        )
    )


def _subtitle(rows: ReportRows, about: Mapping[str, Any]) -> str:
    areas = len({name for one in rows.slices for name in one.frame["area"]})
    times = about["times"]
    period = f", {times[0]} to {times[-1]}" if len(times) > 1 else f", {times[0]}" if times else ""
    return f"{areas:,} areas{period}. Published rows only."


def _coverage(rows: ReportRows) -> list[tuple[str, int, int | str, int, int]]:
    """Return rows, publishable by a direct estimate, by what is shown, and hidden, per selection."""
    out = []
    for one in rows.slices:
        direct = int(one.frame["direct"].notna().sum()) if rows.judged else "not judged"
        shown = int(one.frame["shown"].sum())
        out.append(
            (" / ".join(one.key) or "all areas", len(one.frame), direct, shown, len(one.frame) - shown)
        )
    return out


def template(name: str) -> str:
    """Return the text of a template."""
    return (files("sae.publish") / "templates" / name).read_text(encoding="utf-8")


def environment() -> Any:
    """Return the templates' world, in which every text is escaped."""
    from jinja2 import Environment, StrictUndefined

    return Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )


def markup(text: str) -> Any:
    """Return text that is HTML already."""
    from markupsafe import Markup

    return Markup(text)


def embedded(data: Any) -> str:
    r"""Return data as JSON that ends no script and begins no tag, whatever its texts hold.

    Examples
    --------
    >>> from sae.publish.report_page import embedded
    >>> embedded("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _data(
    rows: ReportRows,
    said: list[dict[str, str]],
    shapes: Mapping[str, Any] | None,
    cost: float | None,
    currency: str,
) -> dict[str, Any]:
    """Return all that the script reads; texts that come again are numbered."""
    numbers: dict[str, dict[str, int]] = {name: {} for name in ("area", "reliability", "flag", "reason")}
    slices = []
    for one, sentences in zip(rows.slices, said, strict=True):
        frame = one.frame
        coded = {
            name: [numbers[name].setdefault(str(text), len(numbers[name])) for text in frame[name]]
            for name in numbers
        }
        figures = {
            name: _plain(frame[name])
            for name in ("estimate", "ci_low", "ci_high", "direct", "rank_low", "rank_high", "lacking")
        }
        slices.append(
            {
                "key": one.key,
                "unit": _UNIT.get(one.unit, one.unit),
                "reference": None if np.isnan(one.reference) else float(f"{one.reference:.6g}"),
                "national": one.national,
                "time": one.time,
                "side": frame["side"].tolist(),
                "said": [sentences[name] for name, _ in QUESTIONS],
                "pairs": None if one.pairs is None else one.pairs.tolist(),
                **coded,
                **figures,
            }
        )
    values = [list(dict.fromkeys(one.key[k] for one in rows.slices)) for k in range(len(rows.picks))]
    return {
        "picks": [
            {"name": name, "head": _HEADS.get(name, name.replace("_", " ").capitalize()), "values": held}
            for name, held in zip(rows.picks, values, strict=True)
        ],
        "texts": {name: list(of) for name, of in numbers.items()},
        "slices": slices,
        "map": shapes,
        "cost": cost,
        "currency": currency,
    }


def _plain(column: pd.Series) -> list[int | float | None]:
    values = column.astype("Float64")
    cells = [None if value is pd.NA or value != value else float(value) for value in values]
    return [int(cell) if cell is not None and cell.is_integer() and cell != 0 else cell for cell in cells]


def _shapes(geometry: Any, key: str, rows: ReportRows) -> dict[str, Any]:
    """Return the borders of the areas as paths of SVG by label, in whole units of the picture."""
    from sae.plots.geometry import read_rings, to_paths

    labels = {
        code: name
        for one in rows.slices
        for code, name in zip(one.frame["code"], one.frame["area"], strict=True)
    }
    rings = read_rings(geometry, key)
    wanted = [code for code in labels if code in rings]
    if not wanted:
        raise SaeInputError(
            f"The geometry has none of the {len(labels)} areas: {name_some(labels)}.",
            hint=f"Its codes by {key!r} are {name_some(rings)}; name another property by key=.",
        )
    paths, frame, outside = to_paths(rings, wanted)
    (left, bottom), (right, top) = frame
    scale = _SIZE / max(right - left, 1e-12)
    drawn = {}
    for code in wanted:
        if code in outside:
            continue
        across, up = np.asarray(paths[code].vertices, dtype=float).T
        vertices = np.column_stack([(across - left) * scale, (top - up) * scale]).round()
        drawn[labels[code]] = _path(vertices.astype(int), np.asarray(paths[code].codes))
    lost = [labels[code] for code in labels if code not in wanted or code in outside]
    return {"width": _SIZE, "height": int(np.ceil((top - bottom) * scale)), "paths": drawn, "lost": lost}


def _path(points: np.ndarray, codes: np.ndarray) -> str:
    """Return the rings as a path; points that fall together on the picture are one."""
    parts: list[str] = []
    last: tuple[int, int] | None = None
    for (x, y), code in zip(points.tolist(), codes.tolist(), strict=True):
        if code == 1:
            parts.append(f"M{x} {y}")
        elif code == 79:
            parts.append("Z")
        elif (x, y) != last:
            parts.append(f"L{x} {y}")
        last = (x, y)
    return "".join(parts)
