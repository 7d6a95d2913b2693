"""What can be said about a model file before it runs: alone, and against the columns of the data."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from sae.batch.estimate import estimator, evaluated
from sae.batch.hints import speaks_of_files
from sae.batch.population import check_population, population_path
from sae.batch.production.runner import check_production
from sae.batch.production.spec import read_production
from sae.batch.published import direct_path, read_published, source_of
from sae.batch.runner import covariates_of, read_areas, read_records
from sae.batch.spec import ModelFile, is_production, parse_spec, read_text, toml_tables
from sae.batch.units import check_units, is_of_units, unit_estimator
from sae.design_based.domains import cross_domains
from sae.errors import SaeSpecError, name_some
from sae.indicators import Indicator, check_domains
from sae.quality import load_policy
from sae.specs import parse_terms, split_formula
from sae.survey import Survey
from sae.survey.expressions import names_in
from sae.survey.layouts import resolve_layout
from sae.tables import DirectEstimates

__all__ = ["check", "check_file"]


@speaks_of_files
def check_file(
    path: Path,
    *,
    survey: str | Path | Sequence[str] = (),
    direct: str | Path | None = None,
    areas: str | Path | None = None,
    population: str | Path | None = None,
) -> str:
    """Check a model file, a production file, or a planning file, which has targets; return what it comes to.

    Parameters
    ----------
    path : Path
    survey : path or sequence of str
        The records; NAME=PATH for each survey of a production file.
    direct, areas, population : path, optional

    Returns
    -------
    str
        The design of the survey as it was understood, or of the production; empty without data.

    Raises
    ------
    SaeSpecError, SaeInputError
        At the first fault, named.
    """
    text = read_text(path, what="model file")
    given = [str(survey)] if isinstance(survey, str | Path) else list(survey)
    if is_production(path):
        if direct is not None:
            raise SaeSpecError(f"{path.name} is a production file: it takes no direct estimates.")
        return check_production(read_production(path), surveys=given, areas=areas)
    if len(given) > 1:
        raise SaeSpecError(f"{path.name} takes one survey, not {len(given)}.")
    records = given[0] if given else None
    if "target" not in toml_tables(text, path.name):
        parsed = parse_spec(text, path.stem, path.parent)
        design = check(parsed, survey=records, direct=direct, areas=areas, population=population)
        return f"design of the survey: {design}" if design else ""
    from sae.batch.planning import check_inputs
    from sae.batch.planning_spec import parse_planning

    plan = parse_planning(text, path.stem, path.parent)
    if plan.model is not None:
        design = check(plan.model, survey=records, areas=areas)
        return f"design of the survey: {design}" if design else ""
    files = {"survey": records, "direct": direct, "areas": areas}
    check_inputs(plan, {name: Path(file) for name, file in files.items() if file is not None})
    return ""


@speaks_of_files
def check(
    spec: ModelFile,
    *,
    survey: str | Path | None = None,
    direct: str | Path | None = None,
    areas: str | Path | None = None,
    population: str | Path | None = None,
) -> str:
    """Check that a model file can run: its layout, expressions, model options and policy, then its columns.

    Parameters
    ----------
    spec : ModelFile
    survey, direct, areas, population : path, optional
        The data that it is meant for; without them only the file itself is checked, and the table of direct
        estimates that it names.

    Returns
    -------
    str
        The design of the survey, or of the direct estimates, as it was understood; empty without data.

    Raises
    ------
    SaeSpecError, SaeInputError
        At the first fault, named.
    """
    people = None
    if is_of_units(spec):
        unit_estimator(spec)
        if population is not None or (spec.population is not None and spec.population.file is not None):
            people = population_path(spec, population, areas)
    else:
        estimator(spec)
        population_path(spec, population, areas)
    load_policy(spec.publish.policy)
    if spec.survey.as_layout:
        resolve_layout(spec.survey.as_layout)
    _check_expressions(spec)
    records: Survey | DirectEstimates | None = None
    if spec.direct is not None:
        table = direct_path(spec, survey, direct)
        records = None if table is None else read_published(spec, table)
    elif survey is not None or direct is not None:
        records = read_records(spec, source_of(spec, survey, direct))
        cross_domains(records, spec.estimate.domains)
        check_domains(spec.estimate.domains, records, frozenset(spec.estimate.accept))
        check_units(spec, records) if is_of_units(spec) else evaluated(spec, records)
    if areas is not None:
        file = read_areas(spec, Path(areas))
        _check_columns(spec, file.table() if records is None else covariates_of(spec, file, records))
    if people is not None:
        check_population(spec, people)
    if isinstance(records, DirectEstimates):
        return str(records.provenance["design"])
    return "" if records is None else records.design


def _check_expressions(spec: ModelFile) -> None:
    expressions = [spec.estimate.universe]
    if not isinstance(spec.estimate.indicator, str):
        definition = Indicator(**spec.estimate.indicator.model_dump())
        expressions += definition.parts
    for expression in expressions:
        if expression is not None:
            names_in(expression)


def _check_columns(spec: ModelFile, covariates: pd.DataFrame) -> None:
    known = [*covariates, *spec.estimate.domains]
    wanted: dict[str, str] = {}
    if spec.model is not None:
        terms = parse_terms(split_formula(spec.model.formula)[1])
        wanted = {name: "[model] formula" for name in terms.variables}
        wanted |= {spec.model.area: "[model] area"} if spec.model.area else {}
    if spec.benchmark:
        within, weights, targets = spec.benchmark.within, spec.benchmark.weights, spec.benchmark.targets
        wanted |= {within: "[benchmark] within"} if within else {}
        wanted |= {weights: "[benchmark] weights"} if weights else {}
        wanted |= {targets: "[benchmark] targets"} if isinstance(targets, str) else {}
    for name, where in wanted.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise SaeSpecError(
                f"{where} uses {name}, which is neither a column of the areas nor a grouping column.",
                hint=f"Did you mean {near[0]}?" if near else f"The areas have {name_some(covariates, 20)}.",
                column=name,
            )
