"""The text of a new model file: what is known of the survey file, with the reasons, and lines to complete."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.area_keys import Keys, covariates, find_keys
from sae.batch.guesses import Guess, codes_of, guess_roles, known_levels, likely_columns, numeric
from sae.batch.unknown_files import SurveyFile
from sae.errors import SaeError, SaeSpecError, name_some
from sae.indicators import REGISTRY
from sae.survey import VARIABLES, Survey
from sae.survey.levels import coded_column
from sae.survey.variables import PLACES
from sae.tables import require

__all__ = ["Draft", "add_meaning", "add_survey", "draft_file", "toml_text"]

_MOST_SHOWN = 4  # columns whose codes are listed for one variable
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_WRITTEN = "as the file is written"
_AGES = 15  # distinct ages below which a column holds bands


@dataclass
class Draft:
    """Lines of a model file; those that are to be completed are comments until they are."""

    lines: list[str] = field(default_factory=list)
    open_lines: list[int] = field(default_factory=list)

    def add(self, line: str = "", reason: str = "") -> None:
        """Add a line, with its reason as a comment behind it."""
        line = f"{line:<38} # {reason}" if reason else line
        self.lines.append(_CONTROL.sub(" ", line))  # a line break in a code would end the comment

    def ask(self, line: str, reason: str) -> None:
        """Add a line that is to be completed, as a comment."""
        self.add(f"# {line}", f"TO COMPLETE: {reason}")
        self.open_lines.append(len(self.lines))

    @property
    def text(self) -> str:
        """The file."""
        return "\n".join(self.lines) + "\n"


def draft_file(
    file: SurveyFile, indicator: str, by: Sequence[str], areas: tuple[AreaFile, Mapping[str, str]] | None
) -> Draft:
    """Return the model file of an indicator for a survey file, and for a file of areas where there is one.

    Raises
    ------
    SaeSpecError
        If `by` names what is neither a column nor a harmonised variable.
    """
    frame = file.frame if file.survey is None else file.survey.frame
    keys = None if areas is None else find_keys(areas[0], frame, by)
    groups, reason = _groups(file, by, keys)
    needed = _needed(file, indicator, groups)
    draft = Draft()
    label = REGISTRY[indicator].label if indicator in REGISTRY else indicator
    title = f"{label}{f' by {name_some(groups)}' if groups else ''}: {file.name}"
    draft.add(f"title = {toml_text(title)}")
    draft.add()
    time = add_survey(draft, file, needed, keys)
    if areas is not None and areas[1]:
        draft.add()
        draft.add("[areas]")
        for name, value in areas[1].items():
            draft.add(f"{name} = {toml_text(value)}", _WRITTEN)
    draft.add()
    draft.add("[estimate]")
    add_meaning(draft, indicator)
    if groups:
        draft.add(f"by = {json.dumps(groups, ensure_ascii=False)}", reason)
    else:
        draft.add(
            '# by = ["..."]', "no column of places: one figure for all; name the columns that make the rows"
        )
    if time is not None and time not in groups:
        draft.add(f"time = {toml_text(time)}", "the file holds several periods: one row for each")
    draft.add('smoothing = "deff"', "the variance of a small domain is noise: smooth it over the domains")
    if keys is not None and areas is not None:
        _model_part(draft, areas[0], keys, indicator, groups, time)
    draft.add()
    draft.add("[publish]")
    draft.add('policy = "eurostat_silc"', "the rule that flags each row; sae show, or a file of your own")
    return draft


def add_survey(draft: Draft, file: SurveyFile, needed: Sequence[str], keys: Keys | None) -> str | None:
    """Add ``[survey]`` with its columns and codes; return the column of the periods where there are several.

    Parameters
    ----------
    draft : Draft
    file : SurveyFile
    needed : sequence of str
        Variables that the file does not have as they are.
    keys : Keys or None
        Of a file of areas.
    """
    draft.add("# Written by sae new. Behind each line stands why; sae check says whether the file can run.")
    draft.add("# Editors complete the keys after: sae schema > model.schema.json")
    draft.add("# with #:schema ./model.schema.json as the first line here.")
    draft.add("[survey]")
    if file.layout is not None:
        draft.add(f"layout = {toml_text(file.layout)}", "; ".join(file.remarks))
    for remark in file.remarks if file.layout is None else ():
        draft.add(f"# {remark}")
    for name, value in file.options.items():
        reason = "a stratum with a single unit takes the mean variance" if name == "lonely_psu" else _WRITTEN
        draft.add(f"{name} = {toml_text(value)}", reason)
    if file.unclear:
        draft.ask(
            'decimal = ","', f"are numbers such as {file.unclear} decimals (take the # away) or thousands?"
        )
    return _survey_part(draft, file, needed, keys)


def toml_text(value: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def add_meaning(draft: Draft, indicator: str) -> None:
    """Add the indicator of ``[estimate]`` with what it is."""
    what = "a column of the file"
    if indicator in REGISTRY:
        one = REGISTRY[indicator]
        what = f"{one.label}: {one.numerator}" + (f", where {one.universe}" if one.universe else "")
    draft.add(f"indicator = {toml_text(indicator)}", what)


def _groups(file: SurveyFile, by: Sequence[str], keys: Keys | None) -> tuple[list[str], str]:
    """Return the grouping columns and why."""
    if by:
        for name in by:
            if name not in VARIABLES and name not in PLACES and not (keys and name in keys.renamed):
                frame = pd.DataFrame(columns=pd.Index(file.columns))
                require(frame, [name], f"{file.name} has", "to group by", error=SaeSpecError)
        return list(by), "as --by names them"
    if keys is not None and keys.columns:
        return list(keys.columns), f"they name the rows of {keys.file}"
    places = [name for name in PLACES if name in file.columns]
    if not places:
        places = [name for name in likely_columns(file.frame, "region") if file.survey is None][:1]
    return places[:1], "by its name: the column of the places"


def _needed(file: SurveyFile, indicator: str, groups: Sequence[str]) -> list[str]:
    """Return the variables that the file does not have as they are."""
    wanted = list(REGISTRY[indicator].variables(file.columns)) if indicator in REGISTRY else []
    return file.lacking(list(dict.fromkeys([*wanted, *groups])))


def _survey_part(draft: Draft, file: SurveyFile, needed: Sequence[str], keys: Keys | None) -> str | None:
    """Add the roles, the columns and the codes; return the column of the periods where there are several."""
    renamed = {} if keys is None else {here: there for here, there in keys.renamed.items() if here in needed}
    plain: list[str] = []
    codes: list[str] = []
    for name in needed:
        if name not in renamed:
            (codes if name in VARIABLES and VARIABLES[name].levels else plain).append(name)
    if file.survey is not None:
        time = file.survey.time
        if renamed or plain:
            draft.add()
            draft.add("[survey.columns]")
    else:
        time = _roles(draft, file.frame)
    for here, there in renamed.items():
        draft.add(
            f"{_key(here)} = {toml_text(there)}",
            f"its values are those of {here} in {keys.file if keys else ''}",
        )
    for name in plain:
        _number(draft, file.frame, name)
    for name in codes:
        _codes(draft, file.frame, name)
    frame = file.frame if file.survey is None else file.survey.frame
    return time if time is not None and frame[time].nunique() > 1 else None


def _roles(draft: Draft, frame: pd.DataFrame) -> str | None:
    """Add the roles that can be used, and those that cannot as comments; return the column of the periods."""
    guesses, refused = _usable(frame, guess_roles(frame))
    strata, psu = guesses.get("strata"), guesses.get("psu")
    if strata is not None and psu is not None:
        units = frame.groupby(psu.column, observed=True)[strata.column].nunique()
        if (units > 1).any():
            draft.add(
                "nest = true", f"{int((units > 1).sum()):,} codes of {psu.column} occur in several strata"
            )
    if strata is not None:
        within = frame.groupby(strata.column, observed=True)
        lonely = int((within[psu.column].nunique() == 1).sum()) if psu else int((within.size() == 1).sum())
        if lonely:
            draft.add(
                'lonely_psu = "average"', f"{lonely:,} strata have a single unit: it takes the mean variance"
            )
    draft.add()
    draft.add("[survey.columns]")
    for role in ("weights", "strata", "psu", "household", "person", "time"):
        if role in guesses:
            draft.add(f"{role} = {toml_text(guesses[role].column)}", guesses[role].reason)
        elif role in refused:
            draft.add(f"# {role} = {toml_text(refused[role].column)}", f"not used: {refused[role].reason}")
        elif role == "weights":
            numbers = [str(name) for name in frame if numeric(frame[name]) and (frame[name] > 0).all()]
            draft.ask('weights = "..."', f"numbers above 0 are in {name_some(numbers, 12) or 'no column'}")
    return guesses["time"].column if "time" in guesses else None


def _usable(frame: pd.DataFrame, guesses: Mapping[str, Guess]) -> tuple[dict[str, Guess], dict[str, Guess]]:
    """Return the roles that the checks of a survey accept together, and the others with the reason."""
    kept: dict[str, Guess] = {}
    refused: dict[str, Guess] = {}
    if "weights" not in guesses or _accepted(frame, guesses) is None:
        return dict(guesses), {}
    for role in ("weights", "time", "strata", "psu", "household", "person"):
        if role not in guesses:
            continue
        error = _accepted(frame, {**kept, role: guesses[role]})
        if error is None:
            kept[role] = guesses[role]
        else:
            refused[role] = Guess(guesses[role].column, error.what)
    return kept, refused


def _accepted(frame: pd.DataFrame, guesses: Mapping[str, Guess]) -> SaeError | None:
    """Return what the checks of a survey say against roles; None where nothing does."""
    columns = {name: guess.column for name, guess in guesses.items()}
    try:
        Survey.from_frame(frame, layout={"columns": columns}, nest="strata" in columns, lonely_psu="average")
    except SaeError as error:
        return error
    return None


def _number(draft: Draft, frame: pd.DataFrame, name: str) -> None:
    """Add the column of a variable without levels: a number, a place."""
    likely = likely_columns(frame, name)
    label = VARIABLES[name].label if name in VARIABLES else "the places"
    if name in PLACES and likely:
        draft.add(
            f"{_key(name)} = {toml_text(likely[0])}", f"by its name; {frame[likely[0]].nunique():,} places"
        )
        return
    good = [one for one in likely if numeric(frame[one]) and frame[one].nunique() > _AGES]
    if good and name == "income":  # a name does not say of what income
        draft.ask(
            f"income = {toml_text(good[0])}", "is it the equivalised disposable income? Then take the # away"
        )
        return
    if good and name != "poor":
        low, high = frame[good[0]].min(), frame[good[0]].max()
        draft.add(f"{_key(name)} = {toml_text(good[0])}", f"by its name; numbers from {low:g} to {high:g}")
        return
    shown = [f"{one}: {codes_of(frame[one], 6)}" for one in likely[:_MOST_SHOWN]]
    draft.ask(
        f'{_key(name)} = "..."', f"{label}, a number; {'; '.join(shown) or 'no name speaks for a column'}"
    )


def _codes(draft: Draft, frame: pd.DataFrame, name: str) -> None:
    """Add the codes of a variable with levels: as its texts say, else to be completed."""
    likely, variable = likely_columns(frame, name), VARIABLES[name]
    draft.add()
    for column in likely:
        levels = known_levels(name, coded_column(frame[column]).texts)
        if levels:
            draft.add(f"[survey.codes.{name}]", "as the texts of the file say")
            draft.add(f"column = {toml_text(column)}", codes_of(frame[column]))
            for level, texts in levels.items():
                draft.add(f"{_key(level)} = {json.dumps(texts, ensure_ascii=False)}")
            return
    draft.add(f"# {name} ({variable.label}) is needed. Take the # from these lines and fill in the codes.")
    for column in likely[:_MOST_SHOWN] or [str(one) for one in frame if 1 < frame[one].nunique() <= 12][:8]:
        draft.add(f"# {column}: {codes_of(frame[column])}")
    draft.ask(f"[survey.codes.{name}]", "which codes mean what")
    draft.add(f"# column = {toml_text(likely[0]) if likely else toml_text('...')}")
    for level in variable.levels:
        draft.add(f"# {_key(level)} = []")


def _key(name: str) -> str:
    """Return a name as a key of TOML."""
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else toml_text(name)


def _model_part(
    draft: Draft, areas: AreaFile, keys: Keys, indicator: str, groups: Sequence[str], time: str | None
) -> None:
    draft.add()
    if not keys.columns or not set(keys.columns) & set(groups):
        draft.add(f"# No [model]: {keys.problem or 'no grouping column names the rows of ' + keys.file}.")
        return
    if not (indicator.isidentifier() and indicator.isascii()):
        draft.add(f"# No [model]: a formula cannot name the column {indicator}. Rename it for one.")
        return
    taken, others = covariates(areas, [*keys.columns, *groups])
    draft.add("[model]")
    terms = " + ".join(taken) if taken else "1"
    reason = (
        "proposed: complete, between 0 and 1" if taken else "no covariate is proposed: the mean of all areas"
    )
    draft.add(f"formula = {toml_text(f'{indicator} ~ {terms}')}", reason)
    if others:
        draft.add(f"# other numbers of {areas.name}: {name_some(others, 20)}")
    per = [name for name in groups if name in VARIABLES] + ([time] if time and time not in groups else [])
    if per:
        draft.add(
            f"per = {json.dumps(per, ensure_ascii=False)}", "a model of its own for each group and period"
        )
