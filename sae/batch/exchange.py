"""From a folder of results to an exchange file, and from exchange files to what a model file fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary import open_areas
from sae.batch.hints import reading
from sae.batch.outputs import read_record
from sae.batch.production.spec import ProductionFile, parse_production
from sae.batch.spec import ModelFile, parse_spec, toml_tables
from sae.errors import SaeError, SaeInputError, SaeSpecError, name_some
from sae.publish import Exchanged, exchange
from sae.specs import parse_terms, split_formula
from sae.tables import Covariates, DirectEstimates, read_table, require

__all__ = ["exchange_results"]


@dataclass(frozen=True, eq=False)
class _Results:
    """The direct estimates of a run, and what its file says of them."""

    direct: DirectEstimates
    spec: ModelFile | ProductionFile
    covariates: tuple[str, ...]
    design: str


def exchange_results(
    folder: Path,
    out: Path,
    *,
    country: str,
    areas: Path | None = None,
    model: str | None = None,
    indicators: Sequence[str] = (),
    level: str | None = None,
    policy: str | None = None,
    persons: int | None = None,
) -> Exchanged:
    """Write the direct estimates of a run that may leave the office.

    Parameters
    ----------
    folder : Path
        Results of `sae run`, of a model file or a production file.
    out : Path
        The exchange file, ending in ``.zip``.
    country : str
    areas : Path, optional
        The areas of the run: the covariates of its formulas go with the estimates.
    model : str, optional
        Name of the model or production file, where the folder has results of several.
    indicators : sequence of str
        By default all; of a production those of one survey.
    level : str, optional
        Of a production; by default the smallest areas.
    policy : str, optional
        By default the one of the run.
    persons : int, optional
        As in `sae.publish.exchange`.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the folder has no results, they were changed since, or as `sae.publish.exchange` raises them.
    """
    identifier, record = read_record(folder, model, (".direct.csv", ".parquet"))
    results = _results(folder, identifier, record, indicators, level)
    known = None if areas is None else _areas(results, areas)
    rule = policy if policy is not None else results.spec.publish.policy
    about = {
        "design": results.design,
        "run": str(record.get("run", "")),
        "title": str(record.get("title", "")),
    }
    return exchange(
        results.direct, out, country=country, policy=rule, persons=persons, areas=known, about=about
    )


def _results(
    folder: Path, identifier: str, record: Mapping[str, Any], indicators: Sequence[str], level: str | None
) -> _Results:
    frame = read_table(folder / f"{identifier}.direct.csv")
    table = read_table(folder / f"{identifier}.parquet")
    try:
        tables = toml_tables(record["spec"], f"{identifier}.toml", "[estimate]")
        spec: ModelFile | ProductionFile
        if "production" in tables:
            spec = parse_production(record["spec"], identifier, folder)
        else:
            spec = parse_spec(record["spec"], identifier, folder)
    except SaeError as error:
        raise SaeInputError(
            f"The model file of the run cannot be read: {error.what}", hint=error.hint
        ) from None
    held = list(dict.fromkeys(frame["indicator"]))
    stray = [name for name in indicators if name not in held]
    if stray:
        raise SaeInputError(
            f"The run has no direct estimates of {name_some(stray)}.", hint=f"It has {name_some(held, 20)}."
        )
    chosen = list(indicators) or held
    frame = frame[frame["indicator"].isin(chosen)]
    release, design = dict(record.get("release", {})), record.get("design", "")
    if isinstance(spec, ProductionFile):
        survey = _one_survey(record, chosen)
        frame, by = _of_level(spec, frame, level)
        release, design = dict(release.get(survey, {})), (design or {}).get(survey, "")
        formulas = [rung.formula for ladder in spec.ladders for rung in ladder.rung if rung.formula]
        names = [x for formula in formulas for x in parse_terms(split_formula(f"y {formula}")[1]).variables]
    else:
        if level is not None:
            raise SaeSpecError("A model file has no levels.", hint="Leave --level out.")
        by = list(spec.estimate.domains)
        formula = spec.model.formula if spec.model is not None else ""
        names = list(parse_terms(split_formula(formula)[1]).variables) if formula else []
    version = [text for text in table["geo_version"].dropna().unique() if text]
    if len(version) == 1:
        release.setdefault("geo_version", version[0])
    units = table.drop_duplicates("indicator").set_index("indicator")["unit"].fillna("").to_dict()
    direct = DirectEstimates(
        frame.reset_index(drop=True),
        tuple(by),
        units={name: str(units.get(name, "")) for name in chosen},
        provenance={"release": release},
    )
    covariates = tuple(dict.fromkeys(name for name in names if name not in frame))
    return _Results(direct, spec, covariates, str(design or ""))


def _one_survey(record: Mapping[str, Any], indicators: Sequence[str]) -> str:
    of = {name: str(record.get("indicators", {}).get(name, "")) for name in indicators}
    if len(set(of.values())) > 1:
        shown = [f"{name} ({survey})" for name, survey in of.items()]
        raise SaeInputError(
            f"The indicators are of several surveys: {name_some(shown, 20)}.",
            hint="Make a file for each: name its indicators with --indicator.",
        )
    return next(iter(of.values()))


def _of_level(spec: ProductionFile, frame: pd.DataFrame, level: str | None) -> tuple[pd.DataFrame, list[str]]:
    levels = spec.production.levels
    level = spec.lowest if level is None else level
    if level not in levels:
        raise SaeSpecError(f"{spec.id}.toml has no level {level!r}.", hint=f"It has {name_some(levels)}.")
    groups = list(dict.fromkeys(name for names in spec.production.groups for name in names))
    rows, column = frame[frame["level"] == level].drop(columns="level"), levels[level]
    periods = rows["time"].nunique() > 1
    if column:
        rows = rows.assign(**{column: rows["geo"]})
    return rows, [*([column] if column else []), *groups, *(["time"] if periods else [])]


def _areas(results: _Results, path: Path) -> Covariates:
    spec = results.spec
    by = list(results.direct.by)
    with reading("[areas]"):
        file = open_areas(path, **spec.areas.reading)
        table = file.table(file.keys([name for name in by if name in file.cells]))
    require(table, results.covariates, f"{path.name} has", "(of the formulas of the run)")
    kept = [*(name for name in by if name in table), *results.covariates]
    origins = {**file.origins, **spec.areas.origin_of}
    return Covariates(table[kept], {name: origins[name] for name in results.covariates if name in origins})
