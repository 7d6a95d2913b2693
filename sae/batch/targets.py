"""What a model file benchmarks to: figures, a column of the areas, or the survey's own estimates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.batch.sections import BenchmarkSection
from sae.batch.spec import ModelFile
from sae.design_based.direct_estimation import direct_estimates
from sae.design_based.domains import Domains, cross_domains
from sae.errors import SaeInputError, SaeWarning, name_some
from sae.indicators import IndicatorArrays
from sae.results import Result
from sae.survey import Survey
from sae.tables import label_text, to_numbers

__all__ = ["Records", "benchmarked"]

COUNTED = "counted_by_the_survey"


@dataclass(frozen=True, eq=False)
class Records:
    """What direct estimates are made of: the survey, the indicator on its records, and the rows."""

    survey: Survey
    data: IndicatorArrays
    domains: Domains


def benchmarked(
    fit: Result,
    spec: ModelFile,
    records: Records | None,
    *,
    partial: bool = False,
) -> Result:
    """Return the fit benchmarked as ``[benchmark]`` says.

    Without `targets` every group of `within`, in every period, meets the survey's own direct estimate;
    without `weights` a domain weighs what the survey counts in the denominator of the indicator, so that the
    direct estimates of the domains would meet the targets exactly.

    Parameters
    ----------
    fit : Result
    spec : ModelFile
    records : Records or None
        What the direct estimates were made of; None where they come from a table, and the file gives targets.
    partial : bool
        Whether some fits could not be had; their targets are then left alone.

    Raises
    ------
    SaeInputError, SaeSpecError
        If a column, a target or a weight is missing.
    """
    section = spec.benchmark
    assert section is not None
    within = list(filter(None, [section.within]))
    if section.targets is None and spec.estimate.time:
        within = list(dict.fromkeys([*within, spec.estimate.time]))
    targets = _targets(fit, section, within, records, spec.estimate.accept)
    if partial and isinstance(targets, Mapping):
        columns = pd.DataFrame({name: fit.column(name).astype("object") for name in within})
        fitted = set(_labels(columns, within))
        targets = {label: target for label, target in targets.items() if label in fitted}
    weights = section.weights
    total = weights is None if records is None else records.data.indicator.kind == "total"
    if weights is None and records is not None and not total:
        fit = replace(fit, areas=fit.areas.assign(**{COUNTED: _counted(fit, records)}))
        weights = COUNTED
    return fit.benchmark(
        targets,
        within=within or None,
        weights=weights,
        method=section.method,
        total=total,
        factor_range=section.plausible,
    )


def _targets(
    fit: Result,
    section: BenchmarkSection,
    within: Sequence[str],
    records: Records | None,
    accept: Sequence[str],
) -> float | Mapping[Any, float]:
    given = section.targets
    if given is None:
        assert records is not None  # a file without records names its targets
        survey = records.survey
        table = direct_estimates(survey, [records.data], cross_domains(survey, within), accept=accept).frame
        if not within:
            return float(table["estimate"][0])
        known = table["estimate"].notna()  # a group without an estimate of its own has no target
        return dict(zip(_labels(table[known], within), table["estimate"][known], strict=True))
    if isinstance(given, str):
        return _column_targets(fit, given, within)
    return given


def _column_targets(fit: Result, column: str, within: Sequence[str]) -> float | Mapping[Any, float]:
    given = fit.column(column).rename(column)
    names = fit.estimates.frame["domain"]
    values = pd.Series(
        to_numbers(given.to_frame(), column, names=names, hint="[benchmark] targets names it.")
    )
    groups = fit.column(within[0]).astype("object") if within else pd.Series("all", index=values.index)
    figures = values.groupby(groups.to_numpy()).nunique()
    several = list(figures.index[figures != 1])
    if several:
        raise SaeInputError(
            f"[benchmark] targets: {column} is not one figure in each group: {name_some(several)}.",
            hint="Give every area of a group the same figure.",
            column=column,
        )
    known = dict(zip(groups, values, strict=True))
    return known if within else float(values.iloc[0])


def _labels(frame: pd.DataFrame, columns: Sequence[str]) -> list[Any]:
    parts = [frame[name].astype("object").tolist() for name in columns]
    return parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))


def _counted(fit: Result, records: Records) -> np.ndarray:
    """Weighted denominators by domain, on the rows of the fit; next to nothing where there is no record."""
    domains = records.domains
    denominator = records.data.denominator * records.survey.weights
    inside = domains.codes >= 0
    sums = np.bincount(domains.codes[inside], denominator[inside], minlength=len(domains))
    by = domains.by
    known = {
        tuple(map(label_text, key)): value for key, value in zip(_keys(domains.labels, by), sums, strict=True)
    }
    counted = np.array([known.get(tuple(map(label_text, key)), 0.0) for key in _keys(fit.areas, by)])
    empty = ~(counted > 0)
    if empty.any():
        warnings.warn(
            f"{int(empty.sum())} domains without a record weigh nothing in the benchmark; "
            "name a population column in [benchmark] weights to count them.",
            SaeWarning,
            stacklevel=2,
        )
    # the benchmark needs weights above 0: a billionth of the mean moves no figure that is printed
    return np.where(empty, 1e-9 * counted[~empty].mean(), counted)


def _keys(frame: pd.DataFrame, by: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(frame[name].astype("object") for name in by), strict=True))
