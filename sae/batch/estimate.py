"""The corridor in memory: direct estimates, model, benchmark, flags, as a model file asks for them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.reading import read_rows
from sae.batch.direct_table import direct_table
from sae.batch.hints import collected_warnings, file_error
from sae.batch.kinds import model_class
from sae.batch.outputs import hash_file
from sae.batch.paths import beside, policy_files
from sae.batch.spec import ModelFile
from sae.batch.targets import Records, benchmarked
from sae.design_based.direct_estimation import direct_estimates
from sae.design_based.domains import cross_domains
from sae.errors import SaeError, SaeInputError, SaeWarning, name_some
from sae.indicators import Indicator, IndicatorArrays, arrays, break_marks, check_accept, resolve
from sae.publish import shown
from sae.publish.benchmarked import protected_by_benchmarks
from sae.quality import assess
from sae.results import AreaModel, Result
from sae.specs import parse_terms, split_formula
from sae.survey import Survey
from sae.tables import DirectEstimates, EstimateTable, label_text
from sae.tables.columns import DIRECT_COLUMNS
from sae.tables.covariates import Covariates, frame_of

__all__ = [
    "Outcome",
    "Step",
    "breaks_of",
    "estimate",
    "estimator",
    "evaluated",
    "indicator_of",
    "named_files",
    "numbered",
    "protect_from_benchmarks",
    "refuse_unanswered",
    "refuse_without_areas",
    "silent",
    "with_breaks",
    "without_model",
]

Step = Callable[[str], None]


def silent(step: str) -> None:
    """Say nothing of the steps: what a program wants that has no one to show them to."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run gave.

    Attributes
    ----------
    spec : ModelFile
    direct : DirectEstimates
        What the survey alone says.
    table : EstimateTable
        The result, one row per domain, flagged.
    fit : result or None
        The fitted model, benchmarked; None where it has no usable answer.
    failed : tuple of str
        Which domains or models have no estimate, and why; empty when all went well.
    warnings : tuple of str
        What the steps warned of, each once.
    contrasts : EstimateTable or None
        Of a multivariate model: the difference of every two components, such as the gap between groups.
    files : tuple of Path
        What was written, in alphabetical order.
    design : str
        Of the survey, as it was understood.
    """

    spec: ModelFile
    direct: DirectEstimates
    table: EstimateTable
    fit: Result | None
    failed: tuple[str, ...]
    warnings: tuple[str, ...]
    contrasts: EstimateTable | None = None
    files: tuple[Path, ...] = field(default=())
    design: str = ""

    @property
    def text(self) -> str:
        """The run in a few lines: how many domains, the gain, how many can be published, the files."""
        frame, model = self.table.frame, self.spec.model
        sampled = int(frame["in_sample"].fillna(False).sum())
        method = "/".join(filter(None, (model.kind, model.transform))) if model else "direct estimates"
        lines = [f"{self.spec.id}: {len(frame)} domains, {sampled} with a sample; {method}"]
        lines.append(f"design of the survey: {self.design}")
        both = frame["direct_cv"].gt(0) & frame["cv"].notna()
        if model and both.any():
            before, after = (frame.loc[both, name].median() for name in ("direct_cv", "cv"))
            lines.append(f"median CV of {int(both.sum())} domains: direct {before:.1%}, model {after:.1%}")
        publishable = int(frame["publishable"].fillna(False).sum())
        policies = name_some(dict.fromkeys(frame["policy"]))
        lines.append(f"publishable by {policies}: {publishable} of {len(frame)} domains")
        if self.files:
            name, public = self.spec.id, len(shown(self.table))
            lines.append(
                f"for the office: {name}.csv; to publish: {name}.published.csv, with {public} figures"
            )
            lines.append(f"wrote to {self.files[0].parent}: {', '.join(path.name for path in self.files)}")
        return "\n".join(lines)


def evaluated(spec: ModelFile, survey: Survey) -> IndicatorArrays:
    """Evaluate the indicator of a model file, narrowed to the file's universe, on the records.

    Raises
    ------
    SaeSpecError
        If the survey lacks a column that it needs, or the indicator runs by name only and is not accepted.
    SaeInputError
        If it is about nobody: no record is in the universe with all that defines the indicator.
    """
    indicator = indicator_of(spec, survey)
    data = arrays(indicator, survey, check_accept(spec.estimate.accept, [indicator]))
    refuse_unanswered(data.indicator, int(data.inside.sum()), int(data.item_missing.sum()), len(survey))
    return data


def indicator_of(spec: ModelFile, survey: Survey) -> Indicator:
    """Return the indicator of a model file, narrowed to the file's universe, as the survey can carry it."""
    given, universe = spec.estimate.indicator, spec.estimate.universe
    indicator = resolve(given if isinstance(given, str) else Indicator(**given.model_dump()), survey)
    if universe and universe != indicator.universe:
        narrowed = f"({indicator.universe}) and ({universe})" if indicator.universe else universe
        indicator = indicator.with_universe(narrowed)
    return indicator


def refuse_unanswered(indicator: Indicator, inside: int, lacking: int, records: int) -> None:
    """Refuse an indicator that is about nobody."""
    if not inside:
        raise SaeInputError(
            f"No record of {records:,} has a known value of {indicator.name} in its universe "
            f"({indicator.universe or 'everybody'}); {lacking:,} lack the value.",
            hint="Check the universe and the codes of the columns that it names.",
        )


def estimator(spec: ModelFile) -> AreaModel[Any] | None:
    """Return the specification of the model, a map with its full path; None where the file has no model.

    Raises
    ------
    SaeSpecError
        If options contradict each other.
    SaeInputError
        If the file of a map does not exist.
    """
    if spec.model is None:
        return None
    model = model_class(spec.model.kind).from_dict(spec.model.options)
    effect: Any = getattr(model, "spatial", None)
    place = getattr(effect, "map", None)
    if not isinstance(place, str | Path):
        return model
    path = beside(place, spec.folder, f"{spec.id}.toml: [model] spatial")
    placed: dict[str, Any] = {"spatial": replace(effect, map=path)}
    return replace(model, **placed)


def refuse_without_areas(spec: ModelFile) -> None:
    """Refuse a run without a file of the areas, if the formula needs covariates that only it can have."""
    lost = wanted_covariates(spec)
    if lost:
        raise SaeInputError(
            f"{spec.id}.toml: [model] formula uses {name_some(lost)}, and no file of the areas is given.",
            hint="Give it with --areas.",
            column=lost[0],
        )


def wanted_covariates(spec: ModelFile) -> list[str]:
    """Return the variables of the formula that the direct estimates do not bring."""
    if spec.model is None:
        return []
    known = {*spec.estimate.domains, *DIRECT_COLUMNS}
    return [name for name in parse_terms(split_formula(spec.model.formula)[1]).variables if name not in known]


def named_files(spec: ModelFile, model: AreaModel[Any] | None) -> dict[str, dict[str, str]]:
    """Return name and hash of each file that the model file names and that decides a figure."""
    path = getattr(getattr(model, "spatial", None), "map", None)
    files = {"map": path} if isinstance(path, Path) else {}
    files |= numbered("policy", policy_files(spec.publish.policy))
    return {role: {"file": path.name, "sha256": hash_file(path)} for role, path in files.items()}


def numbered(role: str, paths: Iterable[Path]) -> dict[str, Path]:
    """Return paths under the name of their role: "policy", "policy 2"."""
    return {f"{role} {k}" if k > 1 else role: path for k, path in enumerate(paths, 1)}


def estimate(
    spec: ModelFile,
    survey: Survey | DirectEstimates,
    areas: pd.DataFrame | Covariates | None = None,
    *,
    run: str = "",
    step: Step = silent,
) -> Outcome:
    """Estimate what a model file asks for, from a survey and covariates in memory.

    Parameters
    ----------
    spec : ModelFile
    survey : Survey or DirectEstimates
        Records, or direct estimates that were made elsewhere.
    areas : DataFrame or Covariates, optional
        Covariates, one row per area (and per group and period, if it has their columns).
    run : str
        Name of the run for the table; by default the fit's own.
    step : callable
        Called with what is being done.

    Returns
    -------
    Outcome
        Without files. Without a model: the direct estimates, flagged. A model without a usable answer gives
        the direct estimates and its reason in `failed`.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the data or the model file cannot be used.
    """
    model = estimator(spec)
    with collected_warnings() as messages:
        records = None
        if isinstance(survey, DirectEstimates):
            table = survey
        else:
            records = Records(survey, evaluated(spec, survey), cross_domains(survey, spec.estimate.domains))
            step("direct estimates")
            table = _direct(spec, records, model)
        fit: Result | None = None
        failed: tuple[str, ...] = ()
        if model is None:
            step("flags")
            result = direct_table(table, spec.publish.policy)
        else:
            step("model")
            fit, errors = model.fit_each(table, areas=areas, seed=spec.publish.seed)
            refused = {key: file_error(error) for key, error in errors.items()}
            if fit is not None and spec.benchmark is not None:
                step("benchmark")
                fit = benchmarked(fit, spec, records, partial=bool(refused))
            step("flags")
            lost = _refused_rows(refused, table, frame_of(areas), spec)
            result, failed = _table(fit, table, lost, spec)
            result = protect_from_benchmarks(result, fit)
    result = with_breaks(result, breaks_of(table))
    result = result.assign(model=spec.id, run=run or result["run"])
    contrasts = _contrasts(fit, result)
    design = table.provenance["design"] if records is None else records.survey.design
    return Outcome(spec, table, result, fit, failed, tuple(messages), contrasts, design=design)


def without_model(
    spec: ModelFile, direct: DirectEstimates, error: SaeError, areas: pd.DataFrame | None
) -> tuple[EstimateTable, tuple[str, ...]]:
    """Return the direct estimates, judged, of a model of units without a usable answer, and what failed.

    Parameters
    ----------
    spec : ModelFile
    direct : DirectEstimates
    error : SaeError
        Why there is no answer.
    areas : DataFrame, optional
        The areas, those without a sample included.
    """
    names = {"domain": "domain", "vardir": "vardir", "n_eff": "n_eff"}
    figures = direct.frame["indicator"].unique()
    rows = [read_rows(direct, areas, outcome=one, **names, per=()).table for one in figures]
    every = pd.concat(rows, ignore_index=True)
    return _table(None, direct, [(spec.id, file_error(error), every)], spec)


def protect_from_benchmarks(table: EstimateTable, fit: Result | None) -> EstimateTable:
    """Return the table without what its benchmarks would tell of a confidential row, and warn of the rest."""
    if fit is None or not fit.benchmarks:
        return table
    table, domains = protected_by_benchmarks(table, fit.benchmarks)
    if domains:
        warnings.warn(
            f"Whoever knows the benchmark's figures can tell {len(domains)} confidential estimates, whatever "
            f"is hidden with them: {name_some(domains)}. Join their groups, or leave the benchmark out.",
            SaeWarning,
            stacklevel=2,
        )
    return table


def _direct(spec: ModelFile, records: Records, model: AreaModel[Any] | None) -> DirectEstimates:
    return direct_estimates(
        records.survey,
        [records.data],
        records.domains,
        variance=spec.estimate.variance,
        smoothing=spec.estimate.smoothing,
        level=0.95 if spec.model is None else spec.model.level,
        seed=spec.publish.seed,
        covariance=model is not None and model.wants_covariance,
        accept=spec.estimate.accept,
    )


def breaks_of(direct: DirectEstimates) -> dict[str, int]:
    """Return ids and years of the breaks that direct estimates were accepted across."""
    accepted = direct.provenance.get("breaks", {}).values()
    return {name: year for years in accepted for name, year in years.items()}


def with_breaks(result: EstimateTable, breaks: Mapping[str, int]) -> EstimateTable:
    """Give the rows from an accepted break on Eurostat's flag b, and name the break among the reasons."""
    if not breaks:
        return result
    marks = pd.Series(break_marks(result["time"], breaks), index=result.frame.index, dtype="string")
    later, reason = marks != "", result["reason"].fillna("")
    named = reason.where(reason == "", reason + "; ") + "break " + marks
    return result.assign(
        flag=result["flag"].where(~later, result["flag"] + "b"), reason=reason.where(~later, named)
    )


def _contrasts(fit: Result | None, result: EstimateTable) -> EstimateTable | None:
    """Return the difference of every two components of the areas; no policy judges a difference."""
    if fit is None or type(fit) is Result:
        return None  # most fits have one component, and load no other kind
    from sae.area_level.multivariate.result import MultivariateResult

    if not isinstance(fit, MultivariateResult) or len(fit.rows.components) < 2:
        return None
    tables = [fit.contrast({one: 1, other: -1}) for one, other in combinations(fit.rows.components, 2)]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    return EstimateTable(frame.assign(model=result["model"][0], run=result["run"][0]), tables[0].groups)


def _refused_rows(
    refused: Mapping[tuple[Any, ...], SaeError],
    direct_table: DirectEstimates,
    areas: pd.DataFrame | None,
    spec: ModelFile,
) -> list[tuple[str, SaeError, pd.DataFrame]]:
    """Return each refused fit: its name, its reason, and all of its rows, those without a sample too."""
    if not refused:
        return []
    rows = read_rows(
        direct_table,
        areas,
        outcome=spec.estimate.indicator_id,
        domain="domain",
        vardir="vardir",
        n_eff="n_eff",
        per=spec.model.per if spec.model is not None and any(refused) else (),
    )
    fits = list(rows.fits.itertuples(index=False, name=None))
    return [
        (" / ".join(map(label_text, key)) or spec.id, error, rows.keep([fits.index(key)]).table)
        for key, error in refused.items()
    ]


def _table(
    fit: Result | None,
    direct_table: DirectEstimates,
    refused: Sequence[tuple[str, SaeError, pd.DataFrame]],
    spec: ModelFile,
) -> tuple[EstimateTable, tuple[str, ...]]:
    """Return all rows, judged; those of a refused fit follow with their direct estimate and the reason."""
    frames, failed = [], []
    if fit is not None:
        fit = fit.flag(spec.publish.policy)
        frames.append(fit.estimates.frame)
        lost = fit.estimates.frame.loc[fit.estimates["estimate"].isna(), ["domain", "reason"]]
        failed += [f"{domain}: {reason}" for domain, reason in lost.itertuples(index=False)]
    for name, error, rows in refused:
        frames.append(_without_estimate(rows, error.what, direct_table, spec))
        unsampled = int(rows["direct"].isna().sum())
        failed.append(
            f"{name}: {error.what} ({len(rows)} domains without an estimate, {unsampled} of them without a "
            "sample)"
        )
    groups = tuple(direct_table.by)
    return EstimateTable(pd.concat(frames, ignore_index=True), groups), tuple(failed)


def _without_estimate(
    rows: pd.DataFrame, reason: str, direct_table: DirectEstimates, spec: ModelFile
) -> pd.DataFrame:
    frame = rows.assign(in_sample=rows["direct"].notna(), estimate=np.nan, se=np.nan)
    verdict = assess(frame, spec.publish.policy)
    frame = frame.assign(**{str(name): verdict[name] for name in verdict})
    frame["reason"] = f"no model estimate: {reason}"
    return EstimateTable(frame, tuple(direct_table.by)).frame
