"""What a survey can carry of an indicator: accepted definitions and codes, levels, bands of age, breaks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from warnings import warn

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.indicators.breaks import BREAKS, Break
from sae.indicators.definition import Indicator
from sae.indicators.registry import REGISTRY
from sae.survey import Survey
from sae.survey.age_bands import check_age_limits
from sae.survey.expressions import comparisons_in, names_in
from sae.survey.variables import VARIABLES

__all__ = [
    "check_accept",
    "check_admitted",
    "check_domains",
    "crossed_breaks",
]

_EU_GROUPS = frozenset({"birth_group", "citizenship_group"})
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d")
_NUTS = re.compile("[A-Z]{2}[0-9A-Z]{1,3}")


def check_accept(accept: str | Sequence[str], indicators: Iterable[Indicator] = ()) -> frozenset[str]:
    """Return what is accepted by name, or refuse a word that can be the name of nothing.

    Parameters
    ----------
    accept : str or sequence of str
        The id of a remembered definition, "layout.variable" for remembered codes or a level that the file
        never holds, the id of a break.
    indicators : iterable of Indicator
        Definitions of the user's own, whose ids count too.

    Raises
    ------
    SaeSpecError

    Examples
    --------
    >>> sorted(sae.indicators.check_accept(["lfs_2021", "eu_lfs.contract"]))
    ['eu_lfs.contract', 'lfs_2021']
    """
    tokens = frozenset([accept] if isinstance(accept, str) else accept)
    known = list(dict.fromkeys([*BREAKS, *REGISTRY, *(one.name for one in indicators)]))
    strange = sorted(str(token) for token in tokens if token not in known and "." not in str(token))
    if strange:
        near = get_close_matches(strange[0], known, n=2)
        raise SaeSpecError(
            f"accept names {name_some(map(repr, strange))}, which is no indicator and no break.",
            hint=(f"Did you mean {' or '.join(near)}? " if near else "")
            + f"Breaks are {', '.join(BREAKS)}; remembered codes are 'layout.variable'.",
        )
    return tokens


def check_admitted(indicator: Indicator, survey: Survey, accept: frozenset[str]) -> tuple[str, ...]:
    """Refuse an indicator that the survey cannot carry, or not without being accepted by name.

    Returns
    -------
    tuple of str
        What has to be said of its levels.

    Raises
    ------
    SaeSpecError
        If the definition or the codes of a variable are remembered, a limit of age cuts a band, or the
        periods cross a break of the indicator, and this is not accepted.
    SaeInputError
        If the layout promises a level that the file never holds.
    """
    if indicator.state == "remembered" and indicator.name not in accept:
        raise SaeSpecError(
            f"The definition of {indicator.name!r} is remembered, not verified: {indicator.source}.",
            hint=f"Check it, then accept it by name: accept=[{indicator.name!r}].",
        )
    _refuse_remembered(indicator.name, indicator.variables(survey.frame), survey, accept)
    for condition in survey.conditions:
        _refuse_remembered(condition, names_in(condition), survey, accept)
    notes = _check_levels(indicator, survey, accept)
    _check_bands(indicator, survey)
    _check_years(indicator, survey)
    _refuse_breaks(indicator.name, crossed_breaks(survey, indicator), survey, accept)
    return notes


def check_domains(by: Sequence[str], survey: Survey, accept: frozenset[str]) -> None:
    """Refuse domains by a variable of remembered codes, or across a break of what it means, if not accepted.

    Raises
    ------
    SaeSpecError
    """
    _refuse_remembered("by", by, survey, accept)
    _refuse_breaks(f"domains by {name_some(by)}", crossed_breaks(survey, by=by), survey, accept)


def _refuse_remembered(what: str, names: Iterable[str], survey: Survey, accept: frozenset[str]) -> None:
    layout = survey.layout or "layout"
    tokens = [f"{layout}.{name}" for name in dict.fromkeys(names) if name in survey.release.remembered]
    refused = [token for token in tokens if token not in accept]
    if refused:
        raise SaeSpecError(
            f"{what!r} needs {name_some(token.partition('.')[2] for token in refused)}, whose codes in the "
            f"layout {survey.layout!r} are remembered, not verified.",
            hint=f"Check them against the codebook, then accept them by name: accept={refused}.",
        )


def crossed_breaks(survey: Survey, indicator: Indicator | None = None, by: Sequence[str] = ()) -> list[Break]:
    """Return the breaks that lie within the periods of a survey.

    Parameters
    ----------
    survey : Survey
        Its periods are those of its time column, by the years in its labels, within the subset; without such
        a column, the years of its release.
    indicator : Indicator, optional
        Whose own breaks are looked for, and those of the columns that it and the subset name.
    by : sequence of str
        Columns that make the domains. The breaks of columns are of the EU's composition, where the release
        does not say on which one the groups rest, and of NUTS, where the codes are of several vintages.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 1.0, "year": ["2019", "2022"], "works": [0, 1]})
    >>> survey = sae.Survey.from_frame(frame, weights="w", time="year")
    >>> works = sae.Indicator("works", breaks=("lfs_2021",))
    >>> [one.id for one in sae.indicators.crossed_breaks(survey, works)]
    ['lfs_2021']
    """
    ids: list[str] = []
    names = list(by)
    if indicator is not None:
        ids += _own_breaks(indicator, survey.release.survey)
        names += indicator.variables(survey.frame)
        names += [name for condition in survey.conditions for name in names_in(condition)]
    if not survey.release.eu and not _EU_GROUPS.isdisjoint(names):
        ids.append("eu28_to_eu27_2020")
    first, last = _years(survey) if ids else (0, 0)
    dated = [BREAKS[one] for one in dict.fromkeys(ids) if first < BREAKS[one].year <= last]
    vintages = [one for name in names if name != survey.time for one in _nuts_breaks(survey, name)]
    return [*dated, *(BREAKS[one] for one in dict.fromkeys(vintages))]


def _refuse_breaks(what: str, crossed: Iterable[Break], survey: Survey, accept: frozenset[str]) -> None:
    """Refuse breaks that are not accepted by name."""
    refused = [one for one in crossed if one.id not in accept]
    if refused:
        first, last = _years(survey)
        raise SaeSpecError(
            f"The survey covers {f'{first} to {last}' if first else 'codes'} across "
            f"{'; '.join(map(str, refused))}: figures of {what} before and after do not compare.",
            hint=f"Take the years of one side, or accept it by name: accept={[one.id for one in refused]}; "
            "the rows from the break on then carry a mark.",
        )


def _own_breaks(indicator: Indicator, survey: str) -> list[str]:
    """Return the breaks of an indicator in a survey of this name; of no name, all that it lists."""
    if not survey:
        return list(indicator.breaks)
    whole = [one.id for one in BREAKS.values() if one.changes == "survey" and one.survey == survey]
    if survey != indicator.survey and indicator.survey and not survey.startswith("EU-"):
        return whole
    return [*whole, *(one for one in indicator.breaks if BREAKS[one].survey in ("", survey))]


def _nuts_breaks(survey: Survey, name: str) -> tuple[str, ...]:
    """Return the changes of NUTS between the vintages that the codes of a column are of."""
    series = survey.frame[name]
    if name in VARIABLES or pd.api.types.is_numeric_dtype(series.dtype):
        return ()
    codes = survey.held(name)
    if not all(map(_NUTS.fullmatch, codes)):
        return ()
    from sae.auxiliary import nuts_vintage  # only where there are codes to judge

    try:
        return nuts_vintage(codes, accept=BREAKS).breaks
    except SaeInputError:
        return ()  # codes of other places that look alike


def _years(survey: Survey) -> tuple[int, int]:
    """First and last year of the survey; of nothing known, a pair that crosses nothing."""
    if survey.time is None:
        first, last = survey.release.years
        return (0, 0) if first is None or last is None else (first, last)
    years = [int(year[0]) for year in map(_YEAR.search, survey.held(survey.time)) if year]
    return (min(years), max(years)) if years else (0, 0)


def _check_years(indicator: Indicator, survey: Survey) -> None:
    if not indicator.years:
        return
    first, last = _years(survey)
    if first and not any(first <= year <= last for year in indicator.years):
        raise SaeSpecError(
            f"{indicator.name!r} exists in {', '.join(map(str, indicator.years))} only, and the survey "
            f"covers {first} to {last}.",
            hint="Take a file of these years.",
        )


def _check_levels(indicator: Indicator, survey: Survey, accept: frozenset[str]) -> tuple[str, ...]:
    """Refuse levels that the layout promises and the file never holds; say so of a user's own columns."""
    named: dict[str, list[str]] = {}
    for part in indicator.parts:
        for name, _, value in comparisons_in(part) if _is_expression(part, survey) else ():
            levels = [value] if isinstance(value, str) else value if isinstance(value, list) else []
            named.setdefault(name, []).extend(level for level in levels if isinstance(level, str))
    notes = []
    for name, levels in named.items():
        series = survey.frame[name]
        if not isinstance(series.dtype, pd.CategoricalDtype):
            continue  # text as it stands has only levels that occur, and the expression names the others
        codes, promised = series.cat.codes.to_numpy(), list(series.cat.categories)
        known = [level for level in dict.fromkeys(levels) if level in promised]
        never = [level for level in known if not np.any(codes == promised.index(level))]
        if not never:
            continue
        if survey.layout and f"{survey.layout}.{name}" not in accept:
            raise SaeInputError(
                f"The layout {survey.layout!r} promises {name_some(never)} for {name}, the file never holds "
                f"it: {indicator.name!r} would count nobody there.",
                hint=f"If there is nobody, accept it by name: accept=['{survey.layout}.{name}'].",
                column=name,
            )
        note = f"no record of the file has {name} {name_some(never)}: {indicator.name} counts nobody there"
        warn(note, SaeWarning, stacklevel=5)
        notes.append(note)
    return tuple(notes)


def _check_bands(indicator: Indicator, survey: Survey) -> None:
    check_age_limits(
        repr(indicator.name),
        [part for part in indicator.parts if _is_expression(part, survey)],
        survey.release.age_bands,
        ": take others with indicator.with_universe(...)",
    )


def _is_expression(part: str, survey: Survey) -> bool:
    """Whether a part is read as an expression: the name of a column need not be one."""
    return part not in survey.frame
