"""From a name to an indicator that a survey can carry."""

from __future__ import annotations

import re
from difflib import get_close_matches
from warnings import warn

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError, SaeWarning, name_some
from sae.indicators.definition import UNSAMPLED, Indicator
from sae.indicators.parts import is_text, part
from sae.indicators.registry import REGISTRY
from sae.survey import Survey
from sae.survey.expressions import odd_names_hint
from sae.survey.variables import VARIABLES
from sae.tables import label_text

__all__ = ["resolve"]

# how notes of a survey begin that tell why a variable is not there
_ABSENCE = ("left out:", "not in the file", "layout ")
_NO_ANSWER = {*range(-9, 0), 7, 8, 9, 77, 88, 97, 98, 99, 777, 888, 997, 998, 999}  # codes beside 0 and 1
_FEW, _MOST_CODES = 10_000, 8
_FLAGS = (0, 1)  # what the national flag of poverty may hold


def resolve(indicator: str | Indicator, survey: Survey) -> Indicator:
    """Find an indicator by name and check that the survey can carry it.

    Parameters
    ----------
    indicator : str or Indicator
        An id of the registry, a column of the survey, or an `Indicator`. An id comes before a column of the
        same name, unless the survey lacks the columns of the id.
    survey : Survey
        The records.

    Returns
    -------
    Indicator

    Raises
    ------
    SaeSpecError
        If nothing bears the name, columns are absent, a text column is asked for as a number, or a harmonised
        column holds values that its definition does not know.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": [1.0, 2.0], "age": [30, 40], "labour_status": ["employed", "inactive"]})
    >>> sae.indicators.resolve("employment_rate", sae.Survey.from_frame(frame, weights="w")).universe
    '20 <= age <= 64'
    """
    frame = survey.frame
    if isinstance(indicator, Indicator):
        _check_sampled(indicator)
        _check_columns(indicator, survey)
        return indicator
    if not isinstance(indicator, str):
        raise SaeSpecError(
            f"An indicator is a name or an sae.Indicator, but got {type(indicator).__name__}.",
            hint=f"Registered names: {', '.join(REGISTRY)}.",
        )
    registered = REGISTRY.get(indicator)
    if registered is not None and (indicator not in frame or not _absent(registered, frame)):
        _check_sampled(registered)
        _check_columns(registered, survey)
        _check_levels(registered, frame)
        return registered
    if indicator in frame:
        return _from_column(indicator, frame)
    near = get_close_matches(indicator, [*REGISTRY, *map(str, frame.columns)], n=3)
    if not indicator.isidentifier():
        raise SaeSpecError(
            f"{indicator!r} is neither an indicator of the registry nor a column of the survey.",
            hint=f"An expression is sae.Indicator(numerator={indicator!r}).",
        )
    raise SaeSpecError(
        f"{indicator!r} is neither an indicator of the registry nor a column of the survey.",
        hint=(f"Did you mean {' or '.join(near)}? " if near else "")
        + f"Registered: {', '.join(REGISTRY)}. An expression goes into sae.Indicator(numerator=...).",
    )


def _from_column(name: str, frame: pd.DataFrame) -> Indicator:
    series = frame[name]
    if is_text(series):
        levels = list(map(label_text, pd.unique(series.dropna())))
        example = levels[0] if levels else "level"
        raise SaeSpecError(
            f"The column {name!r} holds text ({name_some(levels, 3)}), which has no mean.",
            hint=f'Ask for the share of a level: sae.Indicator(numerator="{name} == {example!r}").',
            column=name,
        )
    values, missing = part(name, frame, "indicator")
    if missing.all():
        raise SaeSpecError(f"The column {name!r} has no value at all.", column=name)
    _warn_of_codes(name, np.asarray(values)[~missing])
    return Indicator(numerator=name, id=name, label=name, unit="share" if values.dtype == bool else "")


def _warn_of_codes(name: str, values: np.ndarray) -> None:
    """Warn of the mean of a column that holds codes: yes and no as 1 and 2, or 0 and 1 beside "no answer"."""
    if values.dtype == bool:
        return
    if len(np.unique(values[:_FEW])) > _MOST_CODES:
        return
    held = set(np.unique(values).tolist())
    silent = sorted(held & _NO_ANSWER)
    if held == {1, 2}:
        way = f'the share of one is sae.Indicator(numerator="{name} == 1").'
    elif silent and held - {*silent} == {0, 1}:
        way = f'if {silent[-1]:g} means no answer, say so in the layout: missing = ["{silent[-1]:g}"].'
    else:
        return
    text = ", ".join(f"{value:g}" for value in sorted(held))
    warn(
        f"The column {name!r} holds the codes {text}, and its mean is taken; {way}", SaeWarning, stacklevel=7
    )


def _absent(indicator: Indicator, frame: pd.DataFrame) -> list[str]:
    return [name for name in indicator.variables(frame) if name not in frame]


def _check_sampled(indicator: Indicator) -> None:
    if indicator.kind in UNSAMPLED:
        raise SaeSpecError(
            f"No survey tells {indicator.name!r}: it comes from registers or counts, without sampling error.",
            hint=f"Use sae.indicators.{UNSAMPLED[indicator.kind]}(table, {indicator.name!r}).",
        )


def _names_one(note: str, names: list[str]) -> bool:
    return any(re.search(rf"\b{re.escape(name)}\b", note) for name in names)


def _check_columns(indicator: Indicator, survey: Survey) -> None:
    absent = _absent(indicator, survey.frame)
    if absent:
        columns = [str(column) for column in survey.frame.columns]
        near = [match for name in absent for match in get_close_matches(name, columns, n=1)]
        why = [note for note in survey.notes if note.startswith(_ABSENCE) and _names_one(note, absent)]
        raise SaeSpecError(
            f"The indicator {indicator.name!r} needs the column{'s' if len(absent) > 1 else ''} "
            f"{', '.join(absent)}, which the survey lacks. It has {name_some(columns, 12)}.",
            hint=odd_names_hint(" ".join(indicator.parts), columns)
            + (f"The survey's notes: {'; '.join(why)}. " if why else "")
            + (f"Did you mean {' and '.join(near)}? " if near else "")
            + "Map them in the layout ([survey.columns], [survey.codes]), or define an sae.Indicator.",
            column=absent[0],
        )


def _check_levels(indicator: Indicator, frame: pd.DataFrame) -> None:
    for name in indicator.variables(frame):
        known = _FLAGS if name == "poor" else VARIABLES[name].levels if name in VARIABLES else ()
        if not known:
            continue
        series = frame[name]
        levels = series.cat.categories if isinstance(series.dtype, pd.CategoricalDtype) else series
        strange = [level for level in pd.unique(levels.dropna()) if level not in known]
        if strange:
            raise SaeSpecError(
                f"The column {name!r} holds {name_some(strange)}, but the indicator {indicator.name!r} knows "
                f"only {', '.join(map(str, known))}.",
                hint=f"Code it in the layout under [survey.codes.{name}].",
                column=name,
            )
