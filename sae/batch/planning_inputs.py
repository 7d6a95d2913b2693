"""The files of a plan: each read once, with its hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sae.auxiliary import AreaFile, open_areas
from sae.batch.estimate import Step, evaluated
from sae.batch.hints import reading
from sae.batch.outputs import hash_file
from sae.batch.planning_spec import PlanningFile
from sae.batch.runner import covariates_of, read_areas, read_records
from sae.batch.spec import ModelFile
from sae.design_based.direct_estimation import direct_estimates
from sae.design_based.domains import cross_domains
from sae.errors import SaeInputError, name_some
from sae.indicators import Indicator
from sae.indicators.registry import REGISTRY
from sae.survey import Survey
from sae.tables import DirectEstimates, joined_labels, labels, read_table, require
from sae.tables.text_cells import CODE, looks_missing

__all__ = ["PlanInputs", "read_inputs"]


@dataclass(frozen=True, eq=False)
class PlanInputs:
    """What the files of a plan hold.

    Attributes
    ----------
    strata : DataFrame
        The frame: names and codes as text, everything else as numbers, columns as `oversample` calls them.
    areas : DataFrame or None
        Covariates, one row per area.
    estimates : DirectEstimates, DataFrame or None
        What the model is fitted to.
    origin : mapping of str to mapping
        Name and sha256 of each file.
    design : str
        Of the survey, as it was understood.
    """

    strata: pd.DataFrame
    areas: pd.DataFrame | None
    estimates: DirectEstimates | pd.DataFrame | None
    origin: Mapping[str, Mapping[str, str]]
    design: str = ""


def read_inputs(spec: PlanningFile, paths: Mapping[str, Path], step: Step) -> PlanInputs:
    """Read the files that a plan is made from.

    Raises
    ------
    SaeInputError
        If one of them cannot be used; it is named.
    """
    step(f"reading {', '.join(path.name for path in paths.values())}")
    with reading("[frame]"):
        frame = open_areas(paths["frame"], **spec.frame.reading)
    origin: dict[str, Mapping[str, str]] = {"frame": {"file": frame.name, "sha256": frame.sha256}}
    strata = _strata(spec, frame)
    if spec.model is None:
        return PlanInputs(strata, None, None, origin)
    model, records, areas = spec.model, None, None
    if "survey" in paths:
        records = read_records(model, paths["survey"])
        origin["survey"] = dict(records.source)
    if "areas" in paths:
        file = read_areas(model, paths["areas"])
        origin["areas"] = {"file": file.name, "sha256": file.sha256}
        areas = _only(_covariates(model, file, records), spec, file.name)
    step("direct estimates")
    if records is None:
        path = paths["direct"]
        table = _direct_table(spec, model, path)
        origin["direct"] = {"file": path.name, "sha256": hash_file(path)}
        return PlanInputs(strata, areas, table, origin)
    estimates = direct_estimates(
        records,
        [evaluated(model, records)],
        cross_domains(records, model.estimate.domains),
        variance=model.estimate.variance,
        smoothing=model.estimate.smoothing,
        seed=model.publish.seed,
        accept=model.estimate.accept,
    )
    return PlanInputs(strata, areas, estimates, origin, records.design)


def _strata(spec: PlanningFile, file: AreaFile) -> pd.DataFrame:
    """Return the frame: names and codes as text, everything else as numbers, columns renamed."""
    if spec.model is None:
        keys = ["stratum", *(name for target in spec.targets for name in (*target.by, *target.only))]
    else:
        keys = ["stratum", "domain", *spec.model.estimate.by]
    require(file.cells, list(spec.frame.columns.values()), f"{file.name} has", "(of [frame] columns)")
    own = [spec.frame.columns.get(name, name) for name in keys]
    codes = file.keys([name for name in own if name in file.cells])
    names = {there: here for here, there in spec.frame.columns.items()}
    frame = file.table(codes).rename(columns=names)
    return frame.assign(**{name: value for name, value in spec.costs.columns.items() if name not in frame})


def _covariates(model: ModelFile, file: AreaFile, records: Survey | None) -> pd.DataFrame:
    if records is not None:
        return covariates_of(model, file, records)
    by = [name for name in (*model.estimate.domains, "domain") if name in file.cells]
    return file.table(file.keys(by))


def _only(covariates: pd.DataFrame, spec: PlanningFile, file: str) -> pd.DataFrame:
    for name, values in spec.areas_only.items():
        require(covariates, [name], f"{file} has", "(of [areas] only)")
        covariates = covariates[labels(covariates[name], keep_missing=True).isin(values)].drop(columns=name)
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
            frame = frame[labels(frame[name], keep_missing=True).isin(values)].drop(columns=name)
    by = model.estimate.domains
    if "variance_method" not in frame:
        return _numbers(frame, {"domain", *by})
    require(frame, by, f"{path.name} has")
    domain = joined_labels(frame, by)
    twice = list(dict.fromkeys(domain[domain.duplicated()]))
    if twice:
        raise SaeInputError(
            f"{path.name} has several rows for {len(twice)} domains of {' × '.join(by)}: {name_some(twice)}.",
            hint='Name the rows that are meant: [areas] only = {birth = "foreign"}.',
            areas=twice,
        )
    named = model.estimate.indicator
    known = REGISTRY.get(named) if isinstance(named, str) else Indicator(**named.model_dump())
    units = {model.estimate.indicator_id: known.unit} if known is not None else {}
    return DirectEstimates(frame.assign(domain=domain).reset_index(drop=True), tuple(by), units=units)


def _numbers(frame: pd.DataFrame, texts: set[str]) -> pd.DataFrame:
    """Turn the columns of a CSV file that hold numbers only into numbers."""
    for name in [
        name for name in frame if name not in texts and not pd.api.types.is_numeric_dtype(frame[name])
    ]:
        cells = frame[name].fillna("").astype("string")
        known = ~cells.map(looks_missing).astype(bool)
        numbers = pd.to_numeric(cells.where(known), errors="coerce")
        if (numbers.notna() == known).all() and not cells.str.match(CODE).any():
            frame = frame.assign(**{str(name): numbers.astype(float)})
    return frame.reset_index(drop=True)
