"""One planning file on files: read frame, survey and areas, fit, plan, write the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.batch.estimate import Step, estimator, named_files, numbered, refuse_without_areas, silent
from sae.batch.hints import collected_warnings, speaks_of_files
from sae.batch.outputs import hash_file, run_id, versions, write_manifest
from sae.batch.paths import policy_files
from sae.batch.planning_inputs import PlanInputs, read_inputs
from sae.batch.planning_spec import PlanningFile
from sae.batch.spec import ModelFile
from sae.batch.staging import staged
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.planning import Report, ReportDetails, allocate, confirm, national_check, oversample, report
from sae.planning.precision import PrecisionRule
from sae.planning.with_model.arrays import Reach
from sae.quality import load_policy
from sae.results import AreaModel, Result
from sae.tables import joined_labels, labels, to_numbers

__all__ = ["Planned", "check_inputs", "plan"]

_UNSEEN = "\x1f"  # between labels where no label can hold it


@dataclass(frozen=True, eq=False)
class Planned:
    """What one planning file gave.

    Attributes
    ----------
    spec : PlanningFile
    report : Report
    unreachable : tuple of str
        Domains that no budget makes precise enough.
    warnings : tuple of str
    files : tuple of Path
    design : str
        Of the survey, as it was understood.
    """

    spec: PlanningFile
    report: Report
    unreachable: tuple[str, ...]
    warnings: tuple[str, ...]
    files: tuple[Path, ...] = field(default=())
    design: str = ""

    @property
    def text(self) -> str:
        """The plan in a few lines."""
        lines = [self.report.title, *self.report.lead]
        lines += list(self.report.quotations[-1:])
        if self.design:
            lines.append(f"design of the survey: {self.design}")
        if self.files:
            lines.append(f"wrote to {self.files[0].parent}: {', '.join(path.name for path in self.files)}")
        return "\n".join(lines)


@speaks_of_files
def plan(
    spec: PlanningFile,
    *,
    frame: str | Path,
    survey: str | Path | None = None,
    direct: str | Path | None = None,
    areas: str | Path | None = None,
    out: str | Path,
    step: Step = silent,
) -> Planned:
    """Make a plan from files: all of its report is written, or nothing.

    Writes ``{id}.html``, ``.xlsx``, ``.csv`` and ``.parquet`` (strata), ``.domains.csv`` and
    ``.domains.parquet``, and ``manifest.json``. The same inputs give the same bytes.

    Parameters
    ----------
    spec : PlanningFile
    frame : path
        One row per stratum (and domain).
    survey, direct : path, optional
        Records, or a table of direct estimates, to fit the model to; one of them where the file has a model.
    areas : path, optional
        Covariates, one row per area.
    out : path
        Folder for the results; other files there stay.
    step : callable
        Called with what is being done.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the input or the file cannot be used; nothing is written then.
    """
    given = {"frame": frame, "survey": survey, "direct": direct, "areas": areas}
    paths = {name: Path(path) for name, path in given.items() if path is not None}
    check_inputs(spec, paths)
    model = None if spec.model is None else estimator(spec.model)
    named = _named_files(spec, model)
    out = Path(out)
    with staged(out, spec.id, paths.values()) as stage:
        with collected_warnings() as messages:
            read = read_inputs(spec, paths, step)
            libraries = versions()
            inputs = {**read.origin, **named}
            details = _details(spec, inputs, libraries)
            if spec.model is None:
                plan_report, unreachable = _direct_only(spec, read, details, step)
            else:
                plan_report, unreachable = _with_model(
                    spec, spec.model, read, paths["frame"].name, details, step
                )
        step("writing the report")
        plan_report.write(stage, spec.id)
        origin = {
            "spec": spec.text,
            "inputs": inputs,
            "versions": libraries,
            "seed": spec.publish.seed,
        }
        record = {
            **origin,
            "run": run_id(origin),
            "title": spec.title,
            "design": read.design,
            "warnings": messages,
            "unreachable": list(unreachable),
        }
        write_manifest(stage, spec.id, record)
        names = sorted(path.name for path in stage.iterdir())
    files = tuple(out / name for name in names)
    return Planned(spec, plan_report, unreachable, tuple(messages), files, read.design)


def _named_files(spec: PlanningFile, model: AreaModel[Any] | None) -> dict[str, dict[str, str]]:
    """Return name and hash of each file that the planning file names and that decides a figure."""
    rules = [*spec.targets, *([spec.national] if spec.national else [])]
    paths = dict.fromkeys(path for rule in rules for path in policy_files(rule.policy))
    files = {
        role: {"file": path.name, "sha256": hash_file(path)}
        for role, path in numbered("target policy", paths).items()
    }
    return files if model is None or spec.model is None else {**named_files(spec.model, model), **files}


def check_inputs(spec: PlanningFile, paths: Mapping[str, Path]) -> None:
    """Refuse files that the plan has no use for, and a model without anything to fit it to."""
    given = [name for name in ("survey", "direct") if name in paths]
    if spec.model is None:
        stray = [*given, *(["areas"] if "areas" in paths else [])]
        if stray:
            raise SaeSpecError(
                f"{spec.id}.toml has no [model], so there is no use for --{stray[0]}.",
                hint="Add [estimate] and [model], or leave the file out.",
            )
    elif len(given) != 1:
        raise SaeSpecError(
            f"{spec.id}.toml fits a model: give {'one of ' if given else ''}--survey (records) or --direct "
            "(direct estimates)"
            f"{', not both' if given else ''}."
        )
    elif "survey" in paths and "areas" not in paths:
        refuse_without_areas(spec.model)


def _details(
    spec: PlanningFile, files: Mapping[str, Mapping[str, str]], libraries: Mapping[str, str]
) -> ReportDetails:
    words, sources = spec.words, spec.sources
    indicator = words.indicator
    if spec.model is not None and not indicator:
        indicator = spec.model.estimate.indicator_id.replace("_", " ")
    return ReportDetails(
        title=spec.title,
        indicator=indicator,
        group=words.group,
        domain=words.domain,
        currency=spec.costs.currency,
        frame=sources.frame,
        density=sources.density,
        costs=sources.costs,
        response=sources.response,
        calibration=sources.calibration,
        policy=load_policy(spec.publish.policy).name if spec.model is not None else "",
        seed=spec.publish.seed,
        versions=libraries,
        inputs={f"{name}: {entry['file']}": entry["sha256"] for name, entry in files.items()},
    )


def _direct_only(
    spec: PlanningFile, read: PlanInputs, details: ReportDetails, step: Step
) -> tuple[Report, tuple[str, ...]]:
    step("allocation")
    strata, fewest = _keep_today(spec, read.strata), spec.plan.minimum
    if "minimum" in strata:
        strata = strata.assign(minimum=np.maximum(to_numbers(strata, "minimum"), fewest))
    allocation = allocate(
        strata,
        [target.target() for target in spec.targets],
        total=spec.plan.total,
        budget=spec.plan.budget,
        minimum="minimum" if "minimum" in strata else fewest,
    )
    lost = allocation.targets.loc[~allocation.targets["met"], "domain"]
    return report(allocation, details), tuple(lost)


def _with_model(
    spec: PlanningFile, model: ModelFile, read: PlanInputs, file: str, details: ReportDetails, step: Step
) -> tuple[Report, tuple[str, ...]]:
    step("model")
    assert read.estimates is not None
    specification = estimator(model)
    assert specification is not None  # a planning file holds a model only with its [model]
    fit = specification.fit(read.estimates, areas=read.areas, seed=model.publish.seed)
    fit = fit.flag(model.publish.policy)
    strata = _keep_today(spec, _with_domains(read.strata, fit, model.estimate.by, file))
    step("plan")
    targets = _targets(spec, strata, fit)
    sample = oversample(fit, strata, targets=targets, assurance=spec.plan.assurance or None)
    confirmed = None
    if spec.plan.confirm:
        step("simulating the planned survey")
        assert spec.publish.seed is not None
        confirmed = confirm(sample, spec.plan.confirm, seed=spec.publish.seed)
    national = None
    if spec.national is not None:
        rule = spec.national
        national = national_check(sample, rule.rule, mean=rule.mean, size=rule.size, other=rule.other)
    step("report")
    lost = [reach is Reach.NEVER for reach in sample.reach]
    return report(sample, details, national=national, confirmed=confirmed), tuple(
        sample.cells.domains[np.array(lost)]
    )


def _keep_today(spec: PlanningFile, strata: pd.DataFrame) -> pd.DataFrame:
    """Raise the fewest interviews of each row to those of today, where the plan is to keep them.

    In a plan from a model, each stratum of a domain that is sampled today keeps one at least: a domain whose
    strata are not all sampled has no direct estimate, although today's design gave it one.
    """
    if not (spec.plan.keep_today and "n_now" in strata):
        return strata
    now = pd.Series(to_numbers(strata, "n_now")).fillna(0.0)  # not known: nothing to keep
    least = np.maximum(now, to_numbers(strata, "minimum")) if "minimum" in strata else now
    if spec.model is not None:
        sampled = now.groupby(strata["domain"].to_numpy()).transform("sum") > 0
        least = np.maximum(least, sampled)
    return strata.assign(minimum=np.asarray(least, dtype=float))


def _with_domains(frame: pd.DataFrame, fit: Result, by: list[str], file: str) -> pd.DataFrame:
    """Give each row of the frame the name that its domain has in the fit, by the columns that make it."""
    if "domain" in frame:
        return frame.drop(columns=[name for name in by if name in frame and name != "stratum"])
    absent = [name for name in by if name not in frame]
    if absent:
        raise SaeInputError(
            f"{file} has no column domain, and no {name_some(absent)} to tell the domain by.",
            hint='Name them: [frame] columns = {domain = "..."}.',
            column="domain",
        )
    table = fit.estimates.frame
    keys = joined_labels(table, by, separator=_UNSEEN)
    names = dict(zip(keys, table["domain"].astype(str), strict=True))
    rows = joined_labels(frame, by, separator=_UNSEEN)
    domain = rows.map(names)
    if domain.isna().any():
        lost = [row.replace(_UNSEEN, " / ") for row in dict.fromkeys(rows[domain.isna()])]
        raise SaeInputError(
            f"{len(lost)} domains of {file} are not in the fit: {name_some(lost)}.",
            hint=f"The fit has {name_some(names.values())}.",
            areas=lost,
            column=by[0],
        )
    return frame.assign(domain=domain).drop(columns=[name for name in by if name != "stratum"])


def _targets(spec: PlanningFile, frame: pd.DataFrame, fit: Result) -> dict[str, float | PrecisionRule]:
    """Rule by domain; a later target replaces an earlier one where both apply.

    A target that names no domains is for all of the fit: those without strata are refused.
    """
    domains = list(dict.fromkeys(labels(frame["domain"])))
    if any(not target.only for target in spec.targets):
        known = set(domains)
        lost = [name for name in fit.estimates.frame["domain"].astype(str) if name not in known]
        if lost:
            raise SaeInputError(
                f"{len(lost)} of {len(fit.estimates.frame)} domains of the fit have no strata in the frame: "
                f"{name_some(lost)}.",
                hint='Add their strata, or name the domains of each target: only = {domain = ["..."]}.',
                areas=lost,
                column="domain",
            )
    rules: dict[str, float | PrecisionRule] = {}
    for target in spec.targets:
        chosen = target.only.get("domain", domains)
        strange = [name for name in chosen if name not in domains]
        if strange:
            raise SaeInputError(
                f"[[target]] only names {len(strange)} domains that the frame does not have: "
                f"{name_some(strange)}.",
                hint=f"The frame has {name_some(domains)}.",
                areas=strange,
            )
        rules |= dict.fromkeys(chosen, target.rule)
    return rules
