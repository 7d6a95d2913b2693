"""A model of units as a model file asks for it: records, population, direct estimates, one flagged table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.batch.estimate import (
    Outcome,
    Step,
    breaks_of,
    evaluated,
    protect_from_benchmarks,
    silent,
    with_breaks,
    without_model,
)
from sae.batch.hints import collected_warnings
from sae.batch.kinds import UNIT_KINDS, unit_class
from sae.batch.population import area_columns, wanted_columns
from sae.batch.spec import ModelFile
from sae.batch.targets import Records, benchmarked
from sae.design_based.direct_estimation import direct_estimates
from sae.design_based.domains import cross_domains
from sae.errors import SaeConvergenceError, SaeInputError, SaeSpecError, SaeWarning, counted, name_some
from sae.indicators import Indicator, IndicatorArrays, arrays
from sae.numerics.ebp.indicators import quantile_share
from sae.publish.showing import table_of
from sae.results import Result, UnitModel
from sae.specs import parse_terms, split_formula
from sae.survey import Survey
from sae.tables import Covariates, DirectEstimates, EstimateTable, labels, require
from sae.tables.covariates import frame_of
from sae.tables.parquet_blocks import ParquetRecords
from sae.tables.text_cells import looks_missing
from sae.unit_level.ebp.rows import TOTAL, UNITS
from sae.unit_level.ebp.sample import poverty_line, share_of_median

__all__ = ["check_units", "estimate_units", "is_of_units", "unit_estimator"]

_BELOW = ("head_count", "gap", "severity")
_OF_INCOME = {"median": "median", "gini": "gini", "quintile_share": "qsr"}  # kinds of direct estimates


def is_of_units(spec: ModelFile) -> bool:
    """Whether the model of a file is one of units."""
    return spec.model is not None and spec.model.kind in UNIT_KINDS


def unit_estimator(spec: ModelFile) -> UnitModel[Any]:
    """Return the specification of a model of units.

    Raises
    ------
    SaeSpecError
        If options contradict each other, or it draws random numbers and the file has no seed.
    """
    assert spec.model is not None
    model = unit_class(spec.model.kind).from_dict({**spec.model.options, "domain": spec.estimate.by[0]})
    step = model._random_step
    if step and spec.publish.seed is None:
        raise SaeSpecError(
            f"{spec.id}.toml: {step}, which draws random numbers, but [publish] gives no seed.",
            hint="Write seed = 1, with any number, into [publish].",
        )
    return model


def estimate_units(
    spec: ModelFile,
    survey: Survey,
    population: pd.DataFrame | Covariates | Path | ParquetRecords | Survey | None,
    *,
    run: str = "",
    step: Step = silent,
) -> Outcome:
    """Estimate what a model file with a model of units asks for: see `sae.batch.estimate.estimate`.

    Parameters
    ----------
    spec : ModelFile
    survey : Survey
    population : DataFrame, Covariates, Path, ParquetRecords, Survey or None
        Persons or cells, or means of the areas.
    run, step
        As there.

    Returns
    -------
    Outcome
        A model without a usable answer gives the direct estimates and its reason in `failed`.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the outcome is none of units, the records are of several periods, or the data cannot be used.
    """
    model = unit_estimator(spec)
    with collected_warnings() as messages:
        data, units = check_units(spec, survey)
        known = None if isinstance(population, Covariates) else area_columns(spec, population)
        step("direct estimates")
        figures = _figures(spec, survey, data)
        direct = _direct(spec, survey, figures, spec.estimate.by)
        step("model")
        areas: Any = population
        try:
            fit: Result = model.fit(units, areas=areas, seed=spec.publish.seed)
        except SaeConvergenceError as error:
            step("flags")
            table, failed = without_model(spec, direct, error, _areas_of(population, spec.estimate.by))
            return _outcome(spec, survey, direct, None, table, failed, messages, run)
        _warn_of_areas(fit, spec, survey, data)
        fit = _with_direct(fit, spec, survey, data, figures, direct)
        if spec.benchmark is not None:
            step("benchmark")
            fit = _benchmarked(fit, spec, survey, data, known)
        step("flags")
        fit = fit.flag(spec.publish.policy)
        judged = table_of(fit) if fit.spec.overlapping else protect_from_benchmarks(fit.estimates, fit)
    lost = fit.estimates.frame.loc[fit.estimates["estimate"].isna(), ["domain", "indicator", "reason"]]
    failed = tuple(f"{domain}: {name}: {reason}" for domain, name, reason in lost.itertuples(index=False))
    return _outcome(spec, survey, direct, fit, judged, failed, messages, run)


def _outcome(
    spec: ModelFile,
    survey: Survey,
    direct: DirectEstimates,
    fit: Result | None,
    table: EstimateTable,
    failed: tuple[str, ...],
    messages: Sequence[str],
    run: str,
) -> Outcome:
    table = with_breaks(table, breaks_of(direct))
    table = table.assign(model=spec.id, run=run or table["run"])
    return Outcome(spec, direct, table, fit, failed, tuple(messages), design=survey.design)


def _areas_of(
    population: pd.DataFrame | Covariates | ParquetRecords | Path | Survey | None, by: Sequence[str]
) -> pd.DataFrame | None:
    """Return the names of the areas of a population in memory."""
    frame = population.frame if isinstance(population, Survey) else frame_of(population)
    return frame[[*by]].drop_duplicates() if isinstance(frame, pd.DataFrame) else None


def check_units(spec: ModelFile, survey: Survey) -> tuple[IndicatorArrays, Survey]:
    """Return the outcome on the records, and the records on which it is known, as the model takes them.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the outcome is none of units, a column is missing, or the records are of several periods.
    """
    data = evaluated(spec, survey)
    _refuse_figures(spec, data.indicator)
    return data, _units(spec, survey, data)


def _warn_of_areas(fit: Result, spec: ModelFile, survey: Survey, data: IndicatorArrays) -> None:
    """Name areas of the records that have no row, and labels that look like a missing value."""
    table = fit.estimates.frame
    records = labels(survey.frame.loc[data.inside, spec.estimate.by[0]]).unique()
    lost = [name for name in records if name not in set(labels(table["domain"]))]
    if lost:
        warnings.warn(
            f"Areas with records but no row in the population have no estimate: {len(lost)} of "
            f"{len(records)} ({name_some(lost)}).",
            SaeWarning,
            stacklevel=2,
        )
    for column in ("domain", *fit.estimates.groups):
        odd = [text for text in labels(table[column]).unique() if looks_missing(text)]
        if odd:
            what = spec.estimate.by[0] if column == "domain" else column
            warnings.warn(
                f"Texts that look like missing values are kept as values of {what}: {name_some(odd)}.",
                SaeWarning,
                stacklevel=2,
            )


def _benchmarked(
    fit: Result, spec: ModelFile, survey: Survey, data: IndicatorArrays, known: pd.DataFrame | None
) -> Result:
    """Return the fit benchmarked; `known` are columns that the benchmark names, by the label of the area."""
    assert spec.model is not None
    by, groups = spec.estimate.by[0], spec.model.options.get("groups")
    areas = fit.areas
    if by not in areas:
        areas = areas.assign(**{by: fit.estimates["domain"].to_numpy()})
    if known is not None:
        rows = known.loc[labels(areas[by])]
        areas = areas.assign(**{str(name): rows[name].to_numpy() for name in rows})
    domains = cross_domains(survey, [by, *([groups] if groups else [])])
    return benchmarked(replace(fit, areas=areas), spec, Records(survey, data, domains))


def _refuse_figures(spec: ModelFile, indicator: Indicator) -> None:
    if indicator.kind in ("ratio", "mean") and indicator.denominator is None:
        return
    what = f"kind {indicator.kind!r}" if indicator.denominator is None else "a denominator"
    raise SaeSpecError(
        f"{spec.id}.toml: {indicator.name} has {what}, and a model of units is of one number per record.",
        hint='Estimate the column itself, indicator = "income"; the figures of its distribution are those of '
        "[model] indicators.",
    )


def _units(spec: ModelFile, survey: Survey, data: IndicatorArrays) -> Survey:
    """Return the records with a known outcome as the subset of the survey, the outcome by its name."""
    assert spec.model is not None
    wanted = [*spec.estimate.by, *parse_terms(split_formula(spec.model.formula)[1]).variables]
    require(survey.frame, wanted, "The survey has", error=SaeSpecError)
    section = spec.benchmark
    if section is not None and section.within is not None and section.targets is None:
        require(survey.frame, [section.within], "The survey has", "to benchmark by", error=SaeSpecError)
    if survey.time is not None:
        periods = labels(survey.frame[survey.time][data.inside]).unique()
        if len(periods) > 1:
            raise SaeInputError(
                f"The records are of {len(periods)} periods, {name_some(periods)}; the model takes one.",
                hint=f"Choose it in [estimate] universe: {survey.time} == {periods[-1]}.",
                column=survey.time,
            )
    name, frame = spec.estimate.indicator_id, survey.frame
    if name != data.indicator.numerator:
        if name in (*wanted, *wanted_columns(spec)[1], spec.model.options.get("weights")):
            raise SaeSpecError(
                f"{spec.id}.toml: the indicator bears the name of a column that the model uses too: {name}.",
                hint="Give it an id of its own.",
                column=name,
            )
        frame = frame.assign(**{name: np.where(data.inside, data.numerator.astype(float), np.nan)})
    return replace(survey, frame=frame, mask=data.inside)


def _figures(spec: ModelFile, survey: Survey, data: IndicatorArrays) -> list[IndicatorArrays]:
    """Return what the model's indicators are on the records, of those that a survey estimates by itself."""
    assert spec.model is not None
    options, outcome = spec.model.options, data.indicator
    names = options.get("indicators", ["mean", "head_count", "gap"] if spec.model.kind == "ebp" else [])
    if not names:
        return [data]
    y, line = np.where(data.inside, data.numerator, 0.0).astype(float), np.nan
    threshold, share = options.get("threshold"), share_of_median(options.get("threshold"))
    if threshold is not None:
        inside = data.inside
        line = poverty_line(threshold, y[inside], np.asarray(survey.weights, dtype=float)[inside])
    figures = []
    for name in [names] if isinstance(names, str) else names:
        kind = "arpr" if name == "head_count" and share is not None and not outcome.universe else ""
        kind = kind or _OF_INCOME.get(name, "")
        if name == "mean":
            figures.append(replace(data, indicator=replace(outcome, id="mean")))
        elif kind:
            own = replace(
                outcome,
                id=name,
                kind=kind,
                version="",
                label="",
                unit=UNITS.get(name, outcome.unit),
                threshold_share=share or 0.6,
            )
            figures.append(arrays(own, survey, spec.estimate.accept))
        elif name in _BELOW:
            figures.append(_below(data, name, y, line))
    return figures or [replace(data, indicator=replace(outcome, id="mean"))]


def _below(data: IndicatorArrays, name: str, y: np.ndarray, line: float) -> IndicatorArrays:
    power, text = _BELOW.index(name), f"{data.indicator.numerator} < {line:g}"
    poor = data.inside & (y < line)
    values = poor if power == 0 else np.where(poor, np.abs(1.0 - y / line) ** power, 0.0)
    short = f" * (1 - {data.indicator.numerator} / {line:g})"  # expressions are read, and know no powers
    definition = f"({text}){short * power}" if power else text
    own = replace(data.indicator, id=name, numerator=definition, version="", label="")
    return replace(
        data, indicator=own, numerator=values, denominator=data.inside, share=power == 0, unit="share"
    )


def _direct(
    spec: ModelFile, survey: Survey, figures: Sequence[IndicatorArrays], by: Sequence[str]
) -> DirectEstimates:
    assert spec.model is not None
    return direct_estimates(
        survey,
        list(figures),
        cross_domains(survey, by),
        variance=spec.estimate.variance,
        level=spec.model.level,
        seed=spec.publish.seed,
        accept=spec.estimate.accept,
    )


def _with_levels(survey: Survey, areas: pd.DataFrame, own: str, levels: Sequence[str]) -> Survey:
    """Return the survey with the levels in which the population has its areas."""
    if not levels:
        return survey
    homes = areas[areas["level"] == own].drop_duplicates("part").set_index("part")
    place = labels(survey.frame[own], keep_missing=True)
    columns = {level: place.map(homes[level]) for level in levels}
    for level in levels:
        if level in survey.frame:
            said, home = labels(survey.frame[level], keep_missing=True), columns[level]
            apart = place[said.notna() & home.notna() & (said != home)].unique()
            if len(apart):
                warnings.warn(
                    f"{level} of {counted(len(apart), 'area', 'areas')} differs between survey and "
                    f"population, whose goes: {name_some(apart)}.",
                    SaeWarning,
                    stacklevel=3,
                )
    return replace(survey, frame=survey.frame.assign(**columns))


def _with_direct(
    fit: Result,
    spec: ModelFile,
    survey: Survey,
    data: IndicatorArrays,
    figures: Sequence[IndicatorArrays],
    direct: DirectEstimates,
) -> Result:
    """Return the fit with the design-based estimates in the place of those of a simple random sample.

    Rows that the survey cannot estimate by itself have none.
    """
    assert spec.model is not None
    options, own = spec.model.options, spec.estimate.by[0]
    levels, group = options.get("levels", []), options.get("groups")
    table = fit.estimates.frame
    sets: dict[tuple[str, ...], DirectEstimates] = {(own,): direct}
    levels = [levels] if isinstance(levels, str) else levels
    survey = _with_levels(survey, fit.areas, own, levels)
    for level in (own, *levels):
        for by in ((level,), *([(level, group)] if group else [])):
            if by not in sets and {*by} <= {*map(str, survey.frame)}:
                sets[by] = _direct(spec, survey, figures, by)
    known: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for by, figures_by in sets.items():
        for row in figures_by.frame.to_dict("records"):
            known[by[0], row["indicator"], row["domain"]] = {str(name): value for name, value in row.items()}
    level_of = labels(table["level"]) if "level" in table else pd.Series(own, index=table.index)
    place_of = labels(table["domain"])
    if group:
        of_group = labels(table[group])
        whole = (of_group == TOTAL) & (spec.model.kind == "ebp")
        place_of = place_of.where(whole, place_of + " / " + of_group)
    rows = [known.get(key, {}) for key in zip(level_of, table["indicator"], place_of, strict=True)]
    one = direct.frame.iloc[0]

    def column(name: str, lack: Any = np.nan) -> list[Any]:
        return [row.get(name, lack) for row in rows]

    definitions = {row["indicator"]: row["definition"] for row in direct.frame.to_dict("records")}
    units = dict(direct.units)
    for name in table["indicator"].unique():
        if quantile_share(name) is not None and name not in units:
            definitions[name] = f"{name.replace('_', ' ')} of {data.indicator.definition}"
            units[name] = data.unit
    estimates = fit.estimates.assign(
        direct=column("estimate"),
        direct_se=column("se"),
        direct_cv=column("cv"),
        n_eff=column("n_eff"),
        definition=[definitions.get(name, "") for name in table["indicator"]],
        unit=[units.get(name, unit) for name, unit in zip(table["indicator"], table["unit"], strict=True)],
        time=one["time"],
        geo_version=str(direct.provenance.get("release", {}).get("geo_version", "")),
    )
    return replace(fit, estimates=estimates)
