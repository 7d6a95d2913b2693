"""The text of a new model file with a model of units: outcome, areas, covariates in both files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sae.auxiliary.areas import code_texts
from sae.batch.draft import Draft, add_meaning, add_survey, toml_text
from sae.batch.guesses import guess_roles, likely_columns, numeric
from sae.batch.kinds import unit_class
from sae.batch.unknown_files import PopulationFile, SurveyFile
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators import REGISTRY
from sae.survey.variables import PLACES
from sae.tables import require

__all__ = ["draft_units", "income_of"]

_MOST = 6  # covariates that are proposed
_LEVELS = 12  # beyond which a text is no factor of a first model
_COMMON = 0.5  # share of the areas' codes that both files hold
_SIZES = "size hhsize householdsize persons npersons members hx040 hb075"
# what a first model of each kind says beside its formula, and why
_OPTIONS: Mapping[str, Sequence[tuple[str, str]]] = {
    "ebp": (
        (
            'indicators = ["mean", "head_count", "gap"]',
            "and severity, median, quantile_20, gini, quintile_share",
        ),
        ('transform = "box-cox"', "its parameter is estimated, and again in each replicate"),
        ('threshold = "60% of the median"', "of the survey, with its weights; or a number"),
    ),
    "robust_nested_error": (("replicates = 200", "of the bootstrap of the errors"),),
}


@dataclass(frozen=True)
class _Covariates:
    """Terms of the formula, and why other common columns are none of them."""

    terms: Sequence[str]
    others: Mapping[str, str]


def draft_units(
    file: SurveyFile, kind: str, outcome: str, by: Sequence[str], population: PopulationFile
) -> Draft:
    """Return the model file of a kind of model of units, for a survey file and a population.

    Raises
    ------
    SaeInputError, SaeSpecError
        If no column, or several, can name the areas in both files.
    """
    frame = file.frame if file.survey is None else file.survey.frame
    area, reason = _areas(file, frame, by, population)
    draft = Draft()
    label = REGISTRY[outcome].label if outcome in REGISTRY else outcome
    draft.add(f"title = {toml_text(f'{label} by {area}: {file.name} and {population.name}')}")
    draft.add()
    wanted = list(REGISTRY[outcome].variables(file.columns)) if outcome in REGISTRY else []
    add_survey(draft, file, file.lacking(wanted), None)
    draft.add()
    if population.options:
        draft.add("[population]", f"how {population.name} is read, which comes with --population")
        for name, value in population.options.items():
            draft.add(f"{name} = {toml_text(value)}", "as the file is written")
        draft.add()
    draft.add("[estimate]")
    add_meaning(draft, outcome)
    draft.add(f"by = {toml_text(area)}", reason)
    draft.add()
    draft.add("[model]")
    draft.add(f'kind = "{kind}"', str(unit_class(kind).__doc__).partition("\n")[0].rstrip("."))
    size = _size_column(frame, population) if kind == "ebp" else None
    covariates = _covariates(frame, outcome, area, {size} if size else set(), population)
    terms = " + ".join(covariates.terms) if covariates.terms else "1"
    proposed = "proposed: in both files, alike" if covariates.terms else "no column is alike in both files"
    draft.add(f"formula = {toml_text(f'{outcome} ~ {terms}')}", proposed)
    for name, why in covariates.others.items():
        draft.add(f"# not proposed: {name}, {why}")
    for line, why in _OPTIONS.get(kind, ()):
        draft.add(line, why)
    if size is not None:
        low, high = population.head[size].min(), population.head[size].max()
        draft.add(
            f"population_weights = {toml_text(size)}",
            f"by its name; {low:g} to {high:g}: persons, not households, are counted",
        )
    if kind == "two_fold_nested_error":
        _add_upper(draft, area, population)
    draft.add()
    draft.add("[publish]")
    draft.add('policy = "eurostat_silc"', "the rule that flags each row; sae show, or a file of your own")
    draft.add("seed = 1", "of what is random in the fit: any number, the same one each time")
    return draft


def income_of(file: SurveyFile) -> str:
    """Return the column that is an income by its name.

    Raises
    ------
    SaeInputError
        If there is none.
    """
    frame = file.frame if file.survey is None else file.survey.frame
    incomes = [name for name in likely_columns(frame, "income") if numeric(frame[name])]
    if not incomes:
        raise SaeInputError(
            f"No column of {file.name} is an income by its name.",
            hint="Name the outcome with --indicator: a column of the file, or one that sae indicators lists.",
        )
    return incomes[0]


def _areas(
    file: SurveyFile, frame: pd.DataFrame, by: Sequence[str], population: PopulationFile
) -> tuple[str, str]:
    """Return the column of the areas and why."""
    if len(by) > 1:
        raise SaeSpecError(
            f"A model of units has one column of areas; --by names {len(by)}: {name_some(by)}.",
            hint="[model] groups and levels name others where the kind has them.",
        )
    if by:
        for columns, name in ((frame, file.name), (population.head, population.name)):
            require(columns, list(by), f"{name} has", "to group by", error=SaeSpecError)
        return by[0], "as --by names it"
    likely = [name for name in (*PLACES, *likely_columns(frame, "region")) if name in frame]
    places = [name for name in likely if name in population.head and _shared(frame, population, name)]
    if not places:
        raise SaeInputError(
            f"No column of places is in both {file.name} and {population.name}.",
            hint="Name the column of the areas with --by; it bears one name, and its codes, in both.",
        )
    return places[0], "a column of places in both files"


def _shared(frame: pd.DataFrame, population: PopulationFile, name: str) -> bool:
    here, there = _codes(frame[name]), _codes(population.head[name])
    fewer = min(len(here), len(there))
    return fewer > 1 and len(here & there) >= _COMMON * fewer


def _covariates(
    frame: pd.DataFrame, outcome: str, area: str, taken: set[str], population: PopulationFile
) -> _Covariates:
    """Return the columns that both files have alike, the first ones as terms."""
    roles = {guess.column for guess in guess_roles(frame).values()}
    terms: list[str] = []
    others: dict[str, str] = {}
    for name in map(str, frame):
        if name not in population.head or name in {outcome, area, *taken} or name in PLACES:
            continue
        why = _unfit(frame, area, roles, population, name)
        if why:
            others[name] = why
        elif len(terms) < _MOST:
            terms.append(name)
        else:
            others[name] = f"{_MOST} are enough for a start"
    return _Covariates(terms, others)


def _unfit(frame: pd.DataFrame, area: str, roles: set[str], population: PopulationFile, name: str) -> str:
    """Say why a column is no covariate of a first model; nothing where it is."""
    here, there = frame[name], population.head[name]
    numbers = numeric(here), numeric(there)
    if not (name.isidentifier() and name.isascii()):
        return "a formula cannot name it: rename it"
    if name in roles:
        return "it looks like a column of the design"
    if numbers[0] != numbers[1]:
        return "numbers in one file and text in the other"
    if here.isna().any() or there.isna().any():
        return "values are missing"
    if (frame.groupby(area, observed=True)[name].nunique() <= 1).all():
        return f"it is the same for all units of a {area}"
    if numbers[0]:
        whole = (here % 1 == 0).all()
        return "it looks like a number of the record" if whole and here.nunique() == len(here) else ""
    unseen = sorted(population.levels(name) - _codes(here))
    if len(_codes(here)) > _LEVELS:
        return f"it has {here.nunique()} levels"
    return f"the population has levels that the survey lacks: {name_some(unseen)}" if unseen else ""


def _codes(column: pd.Series) -> frozenset[str]:
    """Return the different values of a column as text."""
    return frozenset(code_texts(column.drop_duplicates()).dropna())


def _size_column(frame: pd.DataFrame, population: PopulationFile) -> str | None:
    """Return the column with the persons of a row of the population, by its name and its numbers."""
    names = {str(name).lower().replace("_", ""): str(name) for name in population.head}
    for name in (names[one] for one in _SIZES.split() if one in names):
        values = population.head[name]
        if numeric(values) and values.notna().all() and (values >= 1).all() and (values % 1 == 0).all():
            return name
    return None


def _add_upper(draft: Draft, area: str, population: PopulationFile) -> None:
    """Add the column of the areas that hold several of the sub-areas."""
    head = population.head
    within = head.groupby(area, observed=True)
    upper = [
        name
        for name in map(str, head)
        if name != area
        and not numeric(head[name])
        and (within[name].nunique() == 1).all()
        and 1 < head[name].nunique() < head[area].nunique()
    ]
    if upper:
        draft.add(f"area = {toml_text(upper[0])}", f"each {area} lies in one of {head[upper[0]].nunique()}")
    else:
        draft.ask('area = "..."', f"the column of the areas that hold each {area}, in the population")
