"""One planning file on files: read frame, survey and areas, fit, plan, write the report."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.auxiliary import read_areas
from sae.auxiliary.areas import holds_text, read_text_table
from sae.batch.estimate import Step, estimator, indicator_of, silent
from sae.batch.outputs import hash_file, staged, versions, write_manifest
from sae.batch.planning_spec import PlanningFile
from sae.batch.runner import read_covariates, read_records
from sae.batch.spec import ModelFile
from sae.design_based import direct
from sae.design_based.domains import text
from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.indicators import Indicator
from sae.indicators.registry import REGISTRY
from sae.planning import About, Report, allocate, confirm, national_check, oversample, report
from sae.planning.precision import PrecisionRule
from sae.results import Result
from sae.tables import DirectEstimates, read_table

__all__ = ["Planned", "check_inputs", "plan"]


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
    """

    spec: PlanningFile
    report: Report
    unreachable: tuple[str, ...]
    warnings: tuple[str, ...]
    files: tuple[Path, ...] = field(default=())

    @property
    def text(self) -> str:
        """The plan in a few lines."""
        lines = [self.report.title, *self.report.lead]
        lines += list(self.report.quotes[-1:])
        if self.files:
            lines.append(f"wrote to {self.files[0].parent}: {', '.join(path.name for path in self.files)}")
        return "\n".join(lines)


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
    inputs = {"frame": frame, "survey": survey, "direct": direct, "areas": areas}
    paths = {name: Path(path) for name, path in inputs.items() if path is not None}
    check_inputs(spec, paths)
    out = Path(out)
    with staged(out) as stage:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SaeWarning)
            origin = {
                "spec": spec.text,
                "inputs": {name: {"file": path.name, "sha256": _hash(path)} for name, path in paths.items()},
                "versions": versions(),
                "seed": spec.publish.seed,
            }
            made, unreachable = _planned(spec, paths, _about(spec, origin), step)
        said = dict.fromkeys(str(item.message) for item in caught if issubclass(item.category, SaeWarning))
        step("writing the report")
        made.write(stage, spec.id)
        record = {"title": spec.title, "warnings": list(said), "unreachable": list(unreachable)}
        write_manifest(stage, out, spec.id, {**origin, **record})
        names = sorted(path.name for path in stage.iterdir())
    return Planned(spec, made, unreachable, tuple(said), tuple(out / name for name in names))


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


def _hash(path: Path) -> str:
    if not path.is_file():
        raise SaeInputError(
            f"There is no file {path}.", hint="Check the path; it is read from the current folder."
        )
    return hash_file(path)


def _about(spec: PlanningFile, origin: dict[str, Any]) -> About:
    words, told = spec.words, spec.sources
    return About(
        title=spec.title, indicator=words.indicator, group=words.group, domain=words.domain,
        currency=spec.costs.currency, frame=told.frame, density=told.density, costs=told.costs,
        response=told.response, calibration=told.calibration,
        policy=str(spec.publish.policy) if spec.model is not None else "",
        seed=spec.publish.seed, versions=origin["versions"],
        inputs={f"{name}: {entry['file']}": entry["sha256"] for name, entry in origin["inputs"].items()},
    )  # fmt: skip


def _planned(
    spec: PlanningFile, paths: dict[str, Path], about: About, step: Step
) -> tuple[Report, tuple[str, ...]]:
    step(f"reading {paths['frame'].name}")
    if spec.model is None:
        strata = _read_frame(
            spec,
            paths["frame"],
            ["stratum", *(name for target in spec.targets for name in (*target.by, *target.only))],
        )
        step("allocation")
        asked = [target.target() for target in spec.targets]
        least: int | str = spec.plan.minimum
        if spec.plan.keep_today and "n_now" in strata:
            strata = strata.assign(least_n=np.maximum(pd.to_numeric(strata["n_now"]), spec.plan.minimum))
            least = "least_n"
        direct_only = allocate(strata, asked, total=spec.plan.total, budget=spec.plan.budget, minimum=least)
        lost = direct_only.targets.loc[~direct_only.targets["met"], "domain"]
        return report(direct_only, about), tuple(lost)
    fit = _fit(spec, spec.model, paths, step)
    strata = _read_frame(spec, paths["frame"], ["stratum", "domain", *spec.model.estimate.by])
    strata = _with_domains(strata, fit, spec.model.estimate.by, paths["frame"].name)
    if spec.plan.keep_today and "n_now" in strata:
        strata = strata.assign(minimum=_todays(strata))
    step("plan")
    made = oversample(fit, strata, targets=_targets(spec, strata), assurance=spec.plan.assurance or None)
    confirmed = None
    if spec.plan.confirm:
        step("simulating the planned survey")
        assert spec.publish.seed is not None
        confirmed = confirm(made, spec.plan.confirm, seed=spec.publish.seed)
    national = None
    if spec.national is not None:
        wanted = spec.national
        national = national_check(made, wanted.rule, mean=wanted.mean, size=wanted.size, other=wanted.other)
    step("report")
    lost = made.domains["reason"].str.startswith("no budget")
    about = (
        about
        if about.indicator
        else replace(about, indicator=spec.model.estimate.indicator_id.replace("_", " "))
    )
    return report(made, about, national=national, confirmed=confirmed), tuple(
        made.domains.loc[lost, "domain"]
    )


def _todays(strata: pd.DataFrame) -> pd.Series:
    """Fewest interviews by stratum: those of today, and one in each stratum of a domain sampled today.

    A domain whose strata are not all sampled has no direct estimate, although today's design gave it one.
    """
    now = pd.to_numeric(strata["n_now"])
    sampled = now.groupby(strata["domain"]).transform("sum") > 0
    least = pd.to_numeric(strata["minimum"]) if "minimum" in strata else 0.0 * now
    return now.clip(lower=sampled.astype(float)).clip(lower=least)


def _read_frame(spec: PlanningFile, path: Path, keys: list[str]) -> pd.DataFrame:
    """Read the strata: names and codes as text, everything else as numbers, columns renamed."""
    raw = read_text_table(path, encoding=spec.frame.encoding)
    absent = [name for name in spec.frame.columns.values() if name not in raw]
    if absent:
        raise SaeInputError(
            f"{path.name} has no column {name_some(absent)}, which [frame] columns names.",
            hint=f"Its columns are {name_some(raw, 20)}.", column=absent[0],
        )  # fmt: skip
    names = {there: here for here, there in spec.frame.columns.items()}
    known = {here: there for there, here in names.items()}
    labels = [known.get(name, name) for name in dict.fromkeys(keys)]
    labels = [name for name in labels if name in raw]
    labels += [str(name) for name in raw if name not in labels and holds_text(raw[name])]
    frame = read_areas(path, codes=labels, encoding=spec.frame.encoding).rename(columns=names)
    own = {name: value for name, value in spec.costs.columns.items() if name not in frame}
    return frame.assign(**own)


def _fit(spec: PlanningFile, model: ModelFile, paths: dict[str, Path], step: Step) -> Result:
    """Fit the model to direct estimates of the survey, or to those of a file, and flag it."""
    records = read_records(model, paths["survey"]) if "survey" in paths else None
    covariates = None
    if "areas" in paths:
        step(f"reading {paths['areas'].name}")
        covariates = (
            read_covariates(model, paths["areas"], records)
            if records is not None
            else read_areas(
                paths["areas"], codes=_codes(paths["areas"], model), encoding=model.areas.encoding
            )
        )
        covariates = _only(covariates, spec, paths["areas"].name)
    step("direct estimates")
    if records is not None:
        table: Any = direct(
            records, indicator_of(model, records), model.estimate.domains, variance=model.estimate.variance,
            smoothing=model.estimate.smoothing, seed=model.publish.seed,
        )  # fmt: skip
    else:
        table = _direct_table(spec, model, paths["direct"])
    step("model")
    fit: Result = estimator(model).fit(table, areas=covariates, seed=model.publish.seed)  # type: ignore[attr-defined]
    return fit.flag(model.publish.policy)


def _codes(path: Path, model: ModelFile) -> list[str]:
    raw = read_text_table(path, encoding=model.areas.encoding)
    by = [name for name in (*model.estimate.domains, "domain") if name in raw]
    return [*by, *(str(name) for name in raw if name not in by and holds_text(raw[name]))]


def _only(covariates: pd.DataFrame, spec: PlanningFile, file: str) -> pd.DataFrame:
    for name, values in spec.areas_only.items():
        if name not in covariates:
            raise SaeInputError(
                f"[areas] only names {name}, which {file} lacks; it has {name_some(covariates, 20)}.",
                column=name,
            )
        covariates = covariates[covariates[name].map(text).isin(values)].drop(columns=name)
        if covariates.empty:
            raise SaeInputError(
                f"No row of {file} has {name} = {name_some(values)}, as [areas] only asks.", column=name
            )
    return covariates.reset_index(drop=True)


def _direct_table(spec: PlanningFile, model: ModelFile, path: Path) -> DirectEstimates | pd.DataFrame:
    """Read direct estimates: a table of `sae run`, or any with domain, the indicator, vardir and n."""
    frame = read_table(path)
    for name, values in spec.areas_only.items():
        if name in frame:
            frame = frame[frame[name].map(text).isin(values)].drop(columns=name)
    by = model.estimate.domains
    if "variance_method" not in frame:
        return _numbers(frame, {"domain", *by})
    absent = [name for name in by if name not in frame]
    if absent:
        raise SaeInputError(f"{path.name} has no column {name_some(absent)}.", column=absent[0])
    words = frame[by].astype("object").map(text).agg(" / ".join, axis=1)
    twice = list(dict.fromkeys(words[words.duplicated()]))
    if twice:
        raise SaeInputError(
            f"{path.name} has several rows for {len(twice)} domains of {' × '.join(by)}: {name_some(twice)}.",
            hint="Name the rows that are meant: [areas] only = {birth = \"foreign\"}.", areas=twice,
        )  # fmt: skip
    named = model.estimate.indicator
    known = REGISTRY.get(named) if isinstance(named, str) else Indicator(**named.model_dump())
    units = {model.estimate.indicator_id: known.unit} if known is not None else {}
    return DirectEstimates(frame.assign(domain=words).reset_index(drop=True), tuple(by), units=units)


def _numbers(frame: pd.DataFrame, texts: set[str]) -> pd.DataFrame:
    """Turn the columns of a CSV file that hold numbers only into numbers."""
    for name in [
        name for name in frame if name not in texts and not pd.api.types.is_numeric_dtype(frame[name])
    ]:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if numbers.notna().sum() == (frame[name].fillna("") != "").sum():
            frame = frame.assign(**{str(name): numbers.astype(float)})
    return frame.reset_index(drop=True)


def _with_domains(frame: pd.DataFrame, fit: Result, by: list[str], file: str) -> pd.DataFrame:
    """Give each row of the frame the name that its domain has in the fit, by the columns that make it."""
    if "domain" in frame:
        return frame
    absent = [name for name in by if name not in frame]
    if absent:
        raise SaeInputError(
            f"{file} has no column domain, and no {name_some(absent)} to tell the domain by.",
            hint='Name them: [frame] columns = {domain = "..."}.', column="domain",
        )  # fmt: skip
    table = fit.estimates.frame
    words = table[by].astype("object").map(text).agg("\x1f".join, axis=1)
    names = dict(zip(words, table["domain"].astype(str), strict=True))
    rows = frame[by].astype("object").map(text).agg("\x1f".join, axis=1)
    found = rows.map(names)
    if found.isna().any():
        lost = [" / ".join(row.split("\x1f")) for row in dict.fromkeys(rows[found.isna()])]
        raise SaeInputError(
            f"{len(lost)} domains of {file} are not in the fit: {name_some(lost)}.",
            hint=f"The fit has {name_some(names.values())}.", areas=lost, column=by[0],
        )  # fmt: skip
    return frame.assign(domain=found)


def _targets(spec: PlanningFile, frame: pd.DataFrame) -> dict[str, float | PrecisionRule]:
    """Rule by domain; a later target replaces an earlier one where both apply."""
    domains = list(dict.fromkeys(frame["domain"].astype(str)))
    rules: dict[str, float | PrecisionRule] = {}
    for target in spec.targets:
        chosen = target.only.get("domain", domains)
        strange = [name for name in chosen if name not in domains]
        if strange:
            raise SaeInputError(
                f"[[target]] only names {len(strange)} domains that the frame does not have: "
                f"{name_some(strange)}.",
                hint=f"The frame has {name_some(domains)}.", areas=strange,
            )  # fmt: skip
        rules |= dict.fromkeys(chosen, target.rule)
    return rules
