"""EU-SILC: the four files of the user database as one survey of persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.literals import LonelyPolicy
from sae.survey.checks import numbers
from sae.survey.layouts import Layout, resolve_layout
from sae.survey.release import Release
from sae.survey.silc_files import SilcFiles, find_parts, join_parts, read_parts
from sae.survey.silc_modules import check_module_years
from sae.survey.silc_records import (
    design_of,
    flag_of,
    flags_applied,
    holds,
    with_age,
    with_columns,
    with_income,
)
from sae.survey.silc_variables import made_variables
from sae.survey.survey import Survey

__all__ = ["named_layout", "read_silc", "survey_of", "words_for_missing"]

LAYOUTS = {2021: "eu_silc", 2004: "eu_silc_2020"}  # first year: layout
_HEALTH = ("self_perceived_health", "unmet_medical_need")
_INCOME = ("income",)
_GROUPS = ("citizenship_group", "birth_group")


@dataclass(frozen=True)
class _Weight:
    """Who a weight stands for, and which harmonised variables it is not for, and why."""

    persons: str
    not_for: tuple[str, ...]
    why: str


_THRESHOLD = "a poverty threshold is that of all persons: RB050"
_WEIGHTS = {
    "RB050": _Weight(
        "all persons",
        _HEALTH,
        "it was asked of persons of 16 and over: PB040, or PB060 where one is selected",
    ),
    "PB040": _Weight("persons of 16 and over", _INCOME, _THRESHOLD),
    "PB060": _Weight("the selected respondents", _INCOME, _THRESHOLD),
    "RL070": _Weight(
        "children of 0 to 12", (*_HEALTH, *_INCOME), "it is the weight of the childcare questions"
    ),
    "RB064": _Weight("persons who were in the panel for four years", (*_HEALTH, *_INCOME), _THRESHOLD),
    "PW005": _Weight("respondents of the module on quality of life", _INCOME, _THRESHOLD),
}


@answered
def read_silc(
    files: str | Path | Mapping[str, str | Path],
    *,
    country: str | None = None,
    year: int | None = None,
    weights: str | None = None,
    strata: str | Sequence[str] | None = None,
    psu: str | Sequence[str] | None = None,
    layout: str | Mapping[str, Any] | None = None,
    lonely_psu: LonelyPolicy = "fail",
    nest: bool = False,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
) -> Survey:
    r"""Read the cross-sectional files of EU-SILC, one country and year, as one row per person.

    Parameters
    ----------
    files : str, Path or mapping
        The folder that holds ``UDB_cCCYYD.csv`` and the H, R and P file of the same country and year, one of
        these files, or ``{"D": path, "H": path, "R": path, "P": path}``.
    country, year : str, int, optional
        Which set, where the folder holds several.
    weights : str, optional
        The weight decides who the survey is about: "RB050" (the default), all persons; "PB040", persons of
        16 and over; "PB060", the selected respondents of the countries that interview one person per
        household; "RL070", children of 0 to 12; "PW005", the module on quality of life. Who has no such
        weight is outside the population. What a weight is not for is left out: health needs PB040 or PB060,
        an income, whose threshold is that of all persons, RB050.
    strata, psu : str or list of str, optional
        Instead of DB050 and DB060. Where these are empty the region is the stratum and the household the
        sampling unit; a self-representing unit is a stratum, its households (or DB062) are sampled.
    layout : str or mapping, optional
        "eu_silc" from 2021 on, "eu_silc_2020" before; the year decides where it is not given. A mapping adds
        to it; its ``columns = {weights = ...}`` is the `weights` of this function.
    lonely_psu, nest
        As in `Survey.from_frame`.
    encoding, separator, decimal
        As in `sae.read_survey`.

    Returns
    -------
    Survey
        Persons of the R file with what D, H and P hold of them; an answer whose flag (``X_F``) is negative is
        missing, and the flags are left out. `notes` say which variables were made of which, and what the
        file cannot tell.

    Raises
    ------
    SaeInputError
        If one of the four files is missing or damaged, they are of several countries or years, or do not fit
        together (households without members, members without a household, persons there twice).
    SaeSpecError
        If the layout is that of another release, or a weight and a variable do not go together.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> files = {
    ...     "D": "DB010,DB020,DB030,DB040\n2022,AT,1,AT1\n2022,AT,2,AT1\n",
    ...     "H": "HB010,HB020,HB030,HX090\n2022,AT,1,20000\n2022,AT,2,9000\n",
    ...     "R": "RB010,RB020,RB030,RX030,RB050\n2022,AT,11,1,250\n2022,AT,21,2,300\n",
    ...     "P": "PB010,PB020,PB030,PX030,PL032\n2022,AT,11,1,1\n2022,AT,21,2,5\n",
    ... }
    >>> for part, text in files.items():
    ...     _ = (folder / f"UDB_cAT22{part}.csv").write_text(text, encoding="utf-8")
    >>> survey = sae.survey.read_silc(folder)
    >>> survey.frame["labour_status"].tolist(), survey.weights.tolist()
    (['employed', 'inactive'], [250.0, 300.0])
    """
    own = named_layout(layout)
    delivered = read_parts(
        find_parts(files, "c", country, year),
        kind="c",
        country=country,
        year=year,
        encoding=encoding,
        separator=separator,
        decimal=decimal,
        missing=words_for_missing(own),
    )
    return survey_of(
        join_parts(delivered),
        delivered,
        own,
        weights=weights,
        strata=strata,
        psu=psu,
        lonely_psu=lonely_psu,
        nest=nest,
    )


def named_layout(layout: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a layout, given by name or as a mapping, as a mapping."""
    if layout is None:
        return {}
    return {"layout": layout} if isinstance(layout, str) else dict(layout)


def words_for_missing(own: Mapping[str, Any]) -> frozenset[str]:
    """Return the words that the layout declares missing."""
    return resolve_layout(own).missing if own else frozenset()


def survey_of(
    frame: pd.DataFrame,
    files: SilcFiles,
    own: Mapping[str, Any],
    *,
    weights: str | None,
    strata: str | Sequence[str] | None,
    psu: str | Sequence[str] | None,
    lonely_psu: LonelyPolicy,
    nest: bool,
    remembered: frozenset[str] = frozenset(),
) -> Survey:
    """Make the survey of the persons of one year, the last of the files."""
    when = files.years[-1]
    spec = _layout_of(own, when)
    weights = weights or _column(spec.columns["weights"])
    check_module_years(spec, weights, when)
    frame, weight_notes = _weighed(frame, weights, files)
    frame, flag_notes = flags_applied(frame, when, weights)
    frame, design, design_notes = design_of(frame)
    frame, age_notes = with_age(frame)
    frame, income_notes = with_income(frame)
    _check_activity(frame, files)
    notes = [*files.notes, *weight_notes, *flag_notes, *age_notes, *income_notes]
    roles = {"strata": strata, "psu": psu}
    for role in roles:
        if roles[role] is None and role not in spec.required:
            roles[role] = design.get(role)
            notes += design_notes[role]
    mapped = {name for name in (*spec.codes, *spec.columns) if _available(frame, spec, name)}
    made, made_notes = made_variables(frame, frozenset(mapped))
    survey = Survey.from_frame(
        with_columns(frame, made),
        weights=weights,
        strata=roles["strata"],
        psu=roles["psu"],
        layout={**own, "layout": spec.name},
        lonely_psu=lonely_psu,
        nest=nest,
    )
    survey = replace(
        survey,
        notes=(*notes, *survey.notes, *made_notes),
        release=_release(
            survey.release, own, when, remembered | ({"severe_material_deprivation"} & set(made))
        ),
        source=dict(files.source),
    )
    return _without_untold(survey, spec, weights, files)


def _layout_of(own: Mapping[str, Any], year: int) -> Layout:
    """Find the layout for the year, with what the user adds; that of another release is refused."""
    fitting = next((name for first, name in LAYOUTS.items() if year >= first), None)
    if fitting is None:
        raise SaeInputError(f"EU-SILC began in 2004, but the files say {year}.")
    named = own.get("layout")
    if named in LAYOUTS.values() and "years" in (own.get("about") or {}):
        return resolve_layout(own)  # that its codes hold for these years is the user's word
    if named in (None, "") or named == fitting:
        return resolve_layout({**own, "layout": fitting})
    if named in LAYOUTS.values():
        raise SaeSpecError(
            f"The layout {named!r} is of another release than the files of {year}: {fitting!r} fits.",
            hint=f"Name layout={fitting!r}, or none: the year decides.",
        )
    raise SaeSpecError(f"The layout {named!r} is not one of EU-SILC: {fitting!r} fits the files of {year}.")


def _column(wanted: Any) -> str:
    return str(wanted["first"][0] if isinstance(wanted, Mapping) else wanted)


def _available(frame: pd.DataFrame, spec: Layout, name: str) -> bool:
    """Whether the layout maps a name to a column that holds something."""
    wanted = spec.columns.get(name, spec.codes.get(name, {}).get("column"))
    names = wanted["first"] if isinstance(wanted, Mapping) else [wanted]
    return any(isinstance(one, str) and holds(frame, one.upper()) for one in names)


def _weighed(frame: pd.DataFrame, weights: str, files: SilcFiles) -> tuple[pd.DataFrame, list[str]]:
    """Give who is outside the population of a weight the weight 0; another gap stays, to be refused."""
    meaning = _WEIGHTS.get(weights)
    if meaning is None:
        return frame, []
    if not holds(frame, weights):
        raise SaeInputError(
            f"The files of {files.name} hold no {weights}, the weight of {meaning.persons}.",
            hint="Countries that interview every adult have no PB060; every country has RB050 and PB040.",
            column=weights,
        )
    values = numbers(frame[weights], "weights")
    gap = np.isnan(values)
    flag = flag_of(frame, weights)
    if weights == "RB050":
        outside = gap & (flag == -2)  # no member of the household now
    elif weights == "PB040":
        outside = gap & frame["PB030"].isna().to_numpy()
    else:
        outside = gap
    notes = [f"weights {weights}: of {meaning.persons}"]
    if outside.any():
        notes[0] += f", {int(np.sum(~outside)):,} of {len(frame):,} persons of the register"
    return with_columns(frame, {weights: np.where(outside, 0.0, values)}), notes


def _check_activity(frame: pd.DataFrame, files: SilcFiles) -> None:
    """Refuse the other coding of PX050, whose 4 are the unemployed."""
    if "PX050" in frame and np.any(numbers(frame["PX050"], "PX050") == 1):
        raise SaeInputError(
            f"PX050 of {files.name} holds the code 1, which the user database does not know (2 employees, 3 "
            "self-employed, 4 other employed, 5 unemployed ...): its codes mean something else.",
            hint="Rename the column, and map it under [survey.codes.in_work] with the codes that it has.",
            column="PX050",
        )


def _release(release: Release, own: Mapping[str, Any], year: int, remembered: frozenset[str]) -> Release:
    """Narrow the release to the year, and mark what rests on a rule that is remembered, not verified."""
    versions = {2021: "NUTS 2021", 2015: "NUTS 2013", 2012: "NUTS 2010", 2004: "NUTS 2003"}
    geo = next(name for first, name in versions.items() if year >= first) if year < 2024 else ""
    about = own.get("about") or {}
    # which EU the groups mean is not told for the other years
    documented = "eu" in about or year >= 2021 or 2013 <= year < 2020
    return replace(
        release,
        years=(year, year),
        eu=release.eu if documented else "",
        geo=release.geo or geo,
        remembered=release.remembered | remembered,
    )


def _without_untold(survey: Survey, spec: Layout, weights: str, files: SilcFiles) -> Survey:
    """Leave out what the country's file cannot tell, and what the weight is not for; say both."""
    gone: dict[str, str] = {}
    year = files.years[-1]
    for names, countries, why in _untold(year, files.country):
        if files.country in countries:
            gone |= {name: f"{files.country} {why}" for name in names if name not in spec.required}
    meaning = _WEIGHTS.get(weights)
    if meaning is not None:
        not_for, why = meaning.not_for, meaning.why
        if weights == "PB040" and holds(survey.frame, "PB060"):
            not_for, why = (*not_for, *_HEALTH), f"{why}; health is asked of the selected respondents: PB060"
        misused = [name for name in not_for if name in spec.required]
        if misused:
            raise SaeSpecError(
                f"{name_some(misused)} cannot be estimated with the weight {weights}: {why}.",
                hint="Name the weight that fits: weights=..., or [survey.columns] weights of a model file.",
            )
        gone |= {name: f"not for the weight {weights}: {why}" for name in not_for}
    gone = {name: why for name, why in gone.items() if name in survey.frame}
    if not gone:
        return survey
    reasons: dict[str, list[str]] = {}
    for name, why in gone.items():
        reasons.setdefault(why, []).append(name)
    notes = [f"left out: {', '.join(names)} ({why})" for why, names in reasons.items()]
    return replace(
        survey,
        frame=survey.frame.drop(columns=list(gone)),
        missing={name: count for name, count in survey.missing.items() if name not in gone},
        notes=(*survey.notes, *notes),
    )


def _untold(year: int, country: str) -> list[tuple[tuple[str, ...], frozenset[str], str]]:
    """Variables, countries that recode them in the user database, and how."""
    if year >= 2021:
        return [
            (
                _GROUPS,
                frozenset({"EE", "LV", "MT", "SI"}),
                "codes people of the EU with all others",
            ),
            (("birth_group",), frozenset({"IT"}), "codes the born in the EU with those born elsewhere"),
            (("degurba",), frozenset({"DE", "EE", "LV"}), "codes towns with cities"),
            (("degurba",), frozenset({"MT"}), "codes rural areas with towns"),
            (("occupation",), frozenset({"MT", "SI"}), "has major groups of occupations"),
        ]
    early = (
        [(("tenure",), frozenset({country}), "has other codes of tenure before 2010")] if year < 2010 else []
    )
    return [
        *early,
        (_GROUPS, frozenset({"DE", "EE", "LV", "MT", "SI"}), "recodes people of the EU"),
        (("degurba",), frozenset({"EE", "LV"}), "codes towns with cities"),
        (("degurba",), frozenset({"MT"}), "codes rural areas with towns"),
        (("occupation",), frozenset({"DE", "MT", "SI"}), "groups occupations"),
    ]
