"""A model of units as a model file asks for it: records, population, direct estimates, one flagged table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.batch.estimate import Outcome, Step, breaks_of, evaluated, silent, with_breaks
from sae.batch.hints import collected_warnings
from sae.batch.kinds import UNIT_KINDS, unit_class
from sae.batch.spec import ModelFile
from sae.batch.targets import Records, benchmarked
from sae.design_based.direct_estimation import direct_estimates
from sae.design_based.domains import cross_domains
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators import Indicator, IndicatorArrays, arrays
from sae.results import Result, UnitModel
from sae.specs import parse_terms, split_formula
from sae.survey import Survey
from sae.tables import Covariates, DirectEstimates, labels, require
from sae.unit_level.ebp.rows import TOTAL
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
    population: pd.DataFrame | Covariates | Path | None,
    *,
    run: str = "",
    step: Step = silent,
) -> Outcome:
    """Estimate what a model file with a model of units asks for: see `sae.batch.estimate.estimate`.

    Parameters
    ----------
    spec : ModelFile
    survey : Survey
    population : DataFrame, Covariates, Path or None
        Persons or cells, or means of the areas.
    run, step
        As there.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the outcome is none of units, the records are of several periods, or the data cannot be used.
    SaeConvergenceError
        If the fit has no answer that can be trusted.
    """
    model = unit_estimator(spec)
    with collected_warnings() as messages:
        data, units = check_units(spec, survey)
        step("direct estimates")
        figures = _figures(spec, survey, data)
        direct = _direct(spec, survey, figures, spec.estimate.by)
        step("model")
        fit: Result = model.fit(units, areas=population, seed=spec.publish.seed)
        fit = _with_direct(fit, spec, survey, figures, direct)
        if spec.benchmark is not None:
            step("benchmark")
            fit = _benchmarked(fit, spec, Records(survey, data, cross_domains(survey, spec.estimate.by)))
        step("flags")
        fit = fit.flag(spec.publish.policy)
    lost = fit.estimates.frame.loc[fit.estimates["estimate"].isna(), ["domain", "indicator", "reason"]]
    failed = tuple(f"{domain}: {name}: {reason}" for domain, name, reason in lost.itertuples(index=False))
    table = with_breaks(fit.estimates, breaks_of(direct))
    table = table.assign(model=spec.id, run=run or table["run"])
    return Outcome(spec, direct, table, fit, failed, tuple(messages), design=survey.design)


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


def _benchmarked(fit: Result, spec: ModelFile, records: Records) -> Result:
    by = spec.estimate.by[0]
    if by not in fit.areas:
        fit = replace(fit, areas=fit.areas.assign(**{by: fit.estimates["domain"].to_numpy()}))
    return benchmarked(fit, spec, records)


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
            own = replace(outcome, id=name, kind=kind, version="", label="", threshold_share=share or 0.6)
            figures.append(arrays(own, survey, spec.estimate.accept))
        elif name in _BELOW:
            figures.append(_below(data, name, y, line))
    return figures


def _below(data: IndicatorArrays, name: str, y: np.ndarray, line: float) -> IndicatorArrays:
    power, text = _BELOW.index(name), f"{data.indicator.numerator} < {line:g}"
    poor = data.inside & (y < line)
    values = poor if power == 0 else np.where(poor, np.abs(1.0 - y / line) ** power, 0.0)
    definition = text if power == 0 else f"({text}) (1 - {data.indicator.numerator} / {line:g})"
    own = replace(
        data.indicator,
        id=name,
        numerator=definition + (" squared" if power == 2 else ""),
        version="",
        label="",
    )
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


def _with_direct(
    fit: Result,
    spec: ModelFile,
    survey: Survey,
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
    for level in (own, *([levels] if isinstance(levels, str) else levels)):
        for by in ((level,), *([(level, group)] if group else [])):
            if by not in sets and {*by} <= {*map(str, survey.frame)}:
                sets[by] = _direct(spec, survey, figures, by)
    known: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for by, table_of in sets.items():
        for row in table_of.frame.to_dict("records"):
            places = " / ".join(str(text) for text in labels(pd.Series([row[name] for name in by])))
            known[by[0], row["indicator"], places] = {str(name): value for name, value in row.items()}
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
    estimates = fit.estimates.assign(
        direct=column("estimate"),
        direct_se=column("se"),
        direct_cv=column("cv"),
        n_eff=column("n_eff"),
        definition=[definitions.get(name, "") for name in table["indicator"]],
        unit=[
            dict(direct.units).get(name, unit)
            for name, unit in zip(table["indicator"], table["unit"], strict=True)
        ],
        time=one["time"],
        geo_version=str(direct.provenance.get("release", {}).get("geo_version", "")),
    )
    return replace(fit, estimates=estimates)
