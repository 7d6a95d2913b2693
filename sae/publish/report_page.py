"""The report of a run: one HTML file that shows published rows only and needs nothing but a browser."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError
from sae.publish.report_catalogue import Catalogue, catalogue
from sae.publish.report_map import SURE, borders, class_labels, classes
from sae.publish.report_quality import policy_title, quality_rows
from sae.publish.report_rows import ReportRows, report_rows
from sae.publish.report_sentences import (
    QUESTIONS,
    answers,
    group_of,
    indicator_text,
    reference_text,
    value_text,
)
from sae.results import Result
from sae.tables import EstimateTable, file_path, whole_file

__all__ = ["report"]

_LEVEL = 0.95
_FIGURES = ("estimate", "ci_low", "ci_high", "direct", "rank_low", "rank_high", "lacking")
_TEXTS = ("area", "reliability", "flag", "reason", "change", "since")
_SHARED = ("areas", "areas_one", "reliability")  # what the script says as well


@answered
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
    language: str = "en",
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
        the mean that a fit was benchmarked to, where that gives no hidden row away; else the median of the
        areas shown.
    seed : int, optional
        Ranks rest on random draws; without a seed there are none.
    cost : float, optional
        Price of an interview, for what is missing; `currency` names its unit.
    geometry, key
        Borders of the areas, as `sae.plots.area_map` takes them, and the property that holds their codes.
    level : float, optional
        Of the intervals of a table; a fit knows its own.
    language : {"en", "de", "fr", "es", "pt"}
        All but English are drafts, and the page says so. Titles of policies and the
        words of the table itself stay as they are.

    Returns
    -------
    Path

    Raises
    ------
    SaeInputError
        If rows were not judged by a policy, an area stands twice, or the path ends in something else.
    SaeSpecError
        If an option names what the table does not have, or there is no such language.

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
    check_ending(path)
    rows = report_rows(data, area=area, national=national, names=names, seed=seed)
    looks = Looks(title, source, cost, currency, geometry, key, level, language)
    return write_report(data, rows, Path(path), looks)


@dataclass(frozen=True)
class Looks:
    """What a report says beside its rows, as `report` describes it."""

    title: str = ""
    source: str = ""
    cost: float | None = None
    currency: str = ""
    geometry: Any = None
    key: str = ""
    level: float | None = None
    language: str = "en"

    def __post_init__(self) -> None:
        cost = self.cost
        if cost is not None and not (isinstance(cost, Real) and np.isfinite(cost) and cost > 0):
            raise SaeSpecError(f"cost={cost!r} is no price of an interview.", hint="Write cost=30.")


def check_ending(path: str | Path) -> None:
    """Refuse a report that would be no HTML file by its name."""
    if file_path(path).suffix.lower() != ".html":
        raise SaeInputError(f"{Path(path).name} does not end in .html.", hint="A report is one HTML file.")


def write_report(data: Result | EstimateTable, rows: ReportRows, path: Path, looks: Looks) -> Path:
    """Write the report of rows that may be shown."""
    words = catalogue(looks.language)
    about = about_of(data, rows, words, source=looks.source, level=looks.level)
    shapes = None if looks.geometry is None else borders(looks.geometry, looks.key, rows)
    with whole_file(path) as part:
        text = _page(rows, about, words, looks, shapes)
        part.write_text(text, encoding="utf-8", newline="\n")
    return path


def about_of(
    data: Result | EstimateTable,
    rows: ReportRows,
    words: Catalogue,
    *,
    source: str = "",
    level: float | None = None,
) -> dict[str, Any]:
    """Return what the sentences say beside the rows: origin, method, policy, periods."""
    fit = data if isinstance(data, Result) else None
    frame = (data.estimates if isinstance(data, Result) else data).frame
    methods = [text for text in dict.fromkeys(frame["method"].dropna()) if text]
    formula = str(getattr(fit.spec, "formula", "")) if fit is not None else ""
    if not methods:
        made = words("method_none")
    elif all(text.startswith("direct") for text in methods):
        made = words("method_direct")
    else:
        made = words("method_model", names="; ".join(filter(None, [words.names(methods, 3), formula])))
    times = sorted({one.time for one in rows.slices if one.time not in ("", "<NA>")})
    runs = [text for text in dict.fromkeys(frame["run"].dropna()) if text]
    return {
        "level": level or (fit.spec.level if fit is not None else _LEVEL),
        "policy": policy_title(rows.policies),
        "source": source.rstrip("."),
        "method": words("method", method=made),
        "run": words.names(runs, 2) if runs else "",
        "times": times,
        "joint": words("method_joint" if fit is not None else "method_independent"),
        "warnings": len(fit.messages) if fit is not None else 0,
    }


def _page(
    rows: ReportRows,
    about: Mapping[str, Any],
    words: Catalogue,
    looks: Looks,
    shapes: Mapping[str, Any] | None,
) -> str:
    said = [answers(one, {**about, "group": group_of(one, rows.picks, words)}, words) for one in rows.slices]
    indicators = dict.fromkeys(indicator_text(one.indicator, words) for one in rows.slices)
    place = value_text("", rows.area, words)
    subject = words("by", indicators=words.names(indicators, 2), place=place)
    script = template("report.js")
    digest = b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")
    data = _data(rows, said, about, words, shapes)
    data |= {"cost": looks.cost, "currency": looks.currency}
    return (
        environment(words)
        .from_string(template("report.html.j2"))
        .render(
            title=looks.title or subject,
            subtitle=_subtitle(rows, about, words),
            questions=[(name, words(f"ask_{name}")) for name in QUESTIONS],
            said=said[0],
            style=markup(template("report.css")),
            script=markup(script),
            digest=digest,
            data=markup(embedded(data)),
            picks=data["picks"],
            ranked=rows.ranked,
            shapes=shapes is not None,
            quality=quality_rows(rows, about, words),
            about=about,
            level=words.figure(about["level"], "share"),
            sure=words.figure(SURE, "share"),
            coverage=_coverage(rows, words),
        )
    )


def _subtitle(rows: ReportRows, about: Mapping[str, Any], words: Catalogue) -> str:
    areas = len({name for one in rows.slices for name in one.frame["area"]})
    times, period = about["times"], ""
    if times:
        period = words("period" if len(times) > 1 else "period_one", first=times[0], last=times[-1])
    return words("subtitle", areas=words.count("areas", areas), period=period)


def _coverage(rows: ReportRows, words: Catalogue) -> list[tuple[str, ...]]:
    """Return rows, publishable by a direct estimate, by what is shown, and hidden, per selection."""
    out: list[tuple[str, ...]] = []
    for one in rows.slices:
        direct = words.number(int(one.frame["direct"].notna().sum())) if rows.judged else words("not_judged")
        every, shown = len(one.frame), int(one.frame["shown"].sum())
        values = [value_text(*part, words) for part in zip(rows.picks, one.key, strict=True)]
        name = " / ".join(values) or words("all_areas")
        out.append((name, words.number(every), direct, words.number(shown), words.number(every - shown)))
    return out


def template(name: str) -> str:
    """Return the text of a template."""
    return (files("sae.publish") / "templates" / name).read_text(encoding="utf-8")


def environment(words: Catalogue) -> Any:
    """Return the templates' world, in which every text is escaped; `t` is the catalogue."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    made.globals["t"] = words
    return made


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
    about: Mapping[str, Any],
    words: Catalogue,
    shapes: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return all that the script reads; texts that come again are numbered."""
    numbers: dict[str, dict[str, int]] = {name: {} for name in _TEXTS}
    slices = []
    for one, sentences in zip(rows.slices, said, strict=True):
        frame = one.frame
        for name in ("reliability", "reason"):
            frame = frame.assign(**{name: [words.term(str(text)) for text in frame[name]]})
        coded = {
            name: [numbers[name].setdefault(str(text), len(numbers[name])) for text in frame[name]]
            for name in _TEXTS
        }
        cuts, own = ([], []) if shapes is None else classes(one, about["level"])
        slices.append(
            {
                "key": one.key,
                "unit": "%" if one.unit == "share" else words.term(one.unit) if one.unit != "<NA>" else "",
                "reference": None if np.isnan(one.reference) else float(f"{one.reference:.6g}"),
                "national": one.kind != "median",
                "line": words("line", reference=line) if (line := reference_text(one, words)) else "",
                "time": one.time,
                "side": frame["side"].tolist(),
                "said": [sentences[name] for name in QUESTIONS],
                "pairs": None if one.pairs is None else one.pairs.tolist(),
                "classes": class_labels(cuts, one.unit, words),
                "class": own,
                **coded,
                **{name: _plain(frame[name]) for name in _FIGURES},
            }
        )
    values = [list(dict.fromkeys(one.key[k] for one in rows.slices)) for k in range(len(rows.picks))]
    heads = {"indicator": words("pick_indicator"), "time": words("pick_time")}
    return {
        "words": {**words.parts["script"], **{key: words.text(key) for key in _SHARED}},
        "signs": words.parts["language"],
        "picks": [
            {
                "name": name,
                "head": heads.get(name) or _capital(words.term(name).replace("_", " ")),
                "values": held,
                "labels": [value_text(name, value, words) for value in held],
            }
            for name, held in zip(rows.picks, values, strict=True)
        ],
        "periods": period_line(about["times"]),
        "texts": {name: list(of) for name, of in numbers.items()},
        "slices": slices,
        "map": shapes,
    }


def period_line(times: Sequence[str]) -> list[str]:
    """Return the periods with the years that lie between them, so that a gap is seen.

    Examples
    --------
    >>> from sae.publish.report_page import period_line
    >>> period_line(["2018", "2021"])
    ['2018', '2019', '2020', '2021']
    """
    if all(len(time) == 4 and time.isdecimal() for time in times) and times:
        return [str(year) for year in range(int(times[0]), int(times[-1]) + 1)]
    return list(times)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(column: pd.Series) -> list[int | float | None]:
    values = column.astype("Float64")
    cells = [None if value is pd.NA or value != value else float(value) for value in values]
    return [int(cell) if cell is not None and cell.is_integer() and cell != 0 else cell for cell in cells]
