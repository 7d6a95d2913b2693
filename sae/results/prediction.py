"""Areas that come after the fit: predicted by the same fit, as areas without a sample."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.results.record import Message
from sae.specs import split_formula
from sae.tables import DIRECT_COLUMNS, DirectEstimates, EstimateTable, labels, pandas_frame, require
from sae.tables.covariates import frame_of

__all__ = ["predicted"]

_SAME = 1e-9  # the estimates of the old areas, by the same arithmetic on the same rows


def predicted(result: Any, areas: Any) -> tuple[EstimateTable, list[Message]]:
    """Return the rows of new areas, and what is to be said of them alone.

    The model is fitted again to the same figures with the new areas beside them; that this changes no old
    estimate is checked.

    Parameters
    ----------
    result : Result
    areas : DataFrame or Covariates
    """
    new = pandas_frame(frame_of(areas), "The areas")
    spec = result.spec
    several = not isinstance(spec.formula, str)
    units = spec.kind == "nested_error"
    direct = set(DIRECT_COLUMNS) <= set(result.areas)
    able = hasattr(spec, "fit_each") or units  # an area-level model has it
    if not able or (several and (direct or not spec.vardir)):
        raise SaeSpecError(
            f"{type(spec).__name__} takes all areas at the fit here, not new ones afterwards.",
            hint="Give them with the others: fit(data, areas=population).",
        )
    named = [name for name in ("weights", "error_scale") if units and getattr(spec, name) is not None]
    if named:
        raise SaeSpecError(
            f"A fit with {named[0]}= takes all areas at the fit, not new ones afterwards.",
            hint="Give them with the others: fit(data, areas=population).",
        )
    if result.benchmarks:
        raise SaeSpecError(
            "The result was benchmarked; new areas would not meet its targets.",
            hint="Call predict() before benchmark(), or fit with all areas: fit(data, areas=areas).",
        )
    refit = _from_units if units else _from_direct if direct else _from_frame
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the messages are given by who called
        again = refit(result, spec, new)
    before = len(result.estimates)
    old, same = (each.estimates.frame["estimate"].to_numpy()[:before] for each in (result, again))
    if not np.allclose(old, same, rtol=_SAME, atol=0.0):
        raise SaeSpecError(
            "In this model the new areas change the estimates of the others.",
            hint="Fit with all areas from the start: fit(data, areas=areas).",
        )
    frame = again.estimates.frame.iloc[before:].reset_index(drop=True)
    frame = frame.assign(model=result.estimates.frame["model"].iloc[0])
    known = {message.text for message in result.messages}
    return EstimateTable(frame, again.estimates.groups), [
        message for message in again.messages if message.text not in known
    ]


def _from_frame(result: Any, spec: Any, new: pd.DataFrame) -> Any:
    """Fit a plain frame again, the new areas as rows without a direct estimate."""
    old = result.areas
    require(new, [spec.domain], "The areas have", "with their labels")
    _refuse_known(result, new, spec.domain)
    if isinstance(spec.formula, str):
        figures = {split_formula(spec.formula)[0], *(getattr(spec, name, "") for name in ("vardir", "n_eff"))}
    else:  # a row of the fit for each component of an area
        old = old.drop_duplicates([spec.domain, *spec.per], ignore_index=True)
        figures = {*(split_formula(one)[0] for one in spec.formula), *(entry[-1] for entry in spec.vardir)}
    kept = [name for name in new if name in old and name not in figures]
    return spec.fit(pd.concat([old, new[kept]], ignore_index=True), seed=result.provenance["seed"])


def _from_units(result: Any, spec: Any, new: pd.DataFrame) -> Any:
    """Fit the columns of the design again, the new areas beside the population means of the others."""
    data, outcome = result.data, split_formula(spec.formula)[0]
    require(new, [spec.domain], "The areas have", "with their labels")
    _refuse_known(result, new, spec.domain)
    terms = [name for name in data.columns if name != "Intercept"]
    right = " + ".join([*(f"`{name}`" for name in terms), *([] if "Intercept" in data.columns else ["0"])])
    units = pd.DataFrame(data.X, columns=list(data.columns))[terms]
    units[outcome] = data.outcome
    units[spec.domain] = result.estimates.frame["domain"].to_numpy()[data.row]
    means = [spec.domain, *terms, *([spec.population] if spec.population else [])]
    require(new, means, "The areas have", "of the population, as the fit had")
    known = result.areas.assign(**{spec.domain: result.estimates.frame["domain"].to_numpy()})
    together = pd.concat([known[means], new[means]], ignore_index=True)
    again = replace(spec, formula=f"`{outcome}` ~ {right or '1'}")
    return again.fit(units, areas=together, seed=result.provenance["seed"])


def _from_direct(result: Any, spec: Any, new: pd.DataFrame) -> Any:
    """Fit direct estimates again, the new areas beside the covariates of the others."""
    old, by = result.areas, list(result.estimates.groups)
    outcome = split_formula(spec.formula)[0]
    fixed = [name for name in DIRECT_COLUMNS if name not in by]
    direct = DirectEstimates(
        old[[*by, *fixed]], tuple(by), units={outcome: str(result.estimates.frame["unit"].iloc[0])}
    )
    on = [name for name in by if name in new]
    if len(on) == 1 == len(by):
        _refuse_known(result, new, on[0])
    covariates = [*on, *(name for name in new if name in old and name not in (*by, *fixed))]
    together = pd.concat([old[covariates].drop_duplicates(on), new[covariates]], ignore_index=True)
    return spec.fit(direct, areas=together, seed=result.provenance["seed"])


def _refuse_known(result: Any, new: pd.DataFrame, domain: str) -> None:
    if domain not in new or result.estimates.frame["domain"].duplicated().any():
        return  # the fit says what is missing, and which rows come twice
    names = labels(new[domain])
    known = names[names.isin(result.estimates.frame["domain"])]
    if len(known):
        raise SaeInputError(
            f"{len(known)} of {len(new)} areas are in the fit already: {name_some(known)}.",
            hint="Their predictions stand in fit.estimates; predict() is for areas that are new to the fit.",
            areas=known,
            column=domain,
        )
