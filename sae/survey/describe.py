"""Parts of a survey as text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sae.errors import counted, name_some
from sae.survey.calibration import Calibration
from sae.survey.codes import as_text, encode
from sae.survey.design import Stage
from sae.survey.records import Records
from sae.survey.replicates import Replicates

__all__ = ["design_text", "summary_lines", "survey_lines"]


def survey_lines(survey: Records) -> list[str]:
    """Return records, design, replicates and periods, a line each."""
    head = f"Survey: {len(survey):,} records, weighted total {float(survey.weights.sum()):,.0f}"
    lines = [head + (f", layout {survey.layout}" if survey.layout else "")]
    outside = int(np.sum(survey.weights == 0))
    if outside:
        lines.append(f"  outside the population: {counted(outside, 'record', 'records')} of weight 0")
    if survey.mask is not None and survey.is_subset:
        total = float(survey.weights[survey.mask].sum())
        lines.append(f"  subset: {int(survey.mask.sum()):,} records, weighted {total:,.0f}")
    lines.append(f"  design: {_stages_text(survey.stages, len(survey))}")
    if survey.replicates is not None:
        lines.append(f"  replicates: {_replicates_text(survey.replicates)}")
    if survey.calibration is not None:
        lines.append(f"  calibrated: {_calibration_text(survey.calibration)}")
    if survey.time is not None:
        lines.append(f"  periods: {_periods_text(survey.frame[survey.time])}")
    return lines


def summary_lines(survey: Records) -> list[str]:
    """Return a page: design, weights, replicates, periods, missing values per variable, notes."""
    lines = [
        *survey_lines(survey),
        f"  weights: {_weights_text(survey.weights)}",
        f"  degrees of freedom: {survey.stages[0].n_psu - survey.stages[0].n_strata:,}, lonely units: "
        f"{survey.lonely_psu}",
    ]
    if survey.source:
        lines.append(f"  file: {survey.source.get('file')}, sha256 {survey.source.get('sha256')}")
    notes = [*survey.notes, *([_missing_text(survey.missing)] if survey.missing else [])]
    if notes:
        lines += ["  notes:", *(f"    - {note}" for note in notes)]
    return lines


def _stages_text(stages: tuple[Stage, ...], n: int) -> str:
    """Return strata and units of every stage of the design of `n` records."""
    return "; ".join(_stage_text(stage, n) for stage in stages)


def design_text(
    stages: tuple[Stage, ...], n: int, replicates: Replicates | None, calibration: Calibration | None
) -> str:
    """Return the design as it was understood, in one sentence."""
    parts = ["; ".join(_drawn_text(stage, n) for stage in stages)]
    if replicates is None:
        parts.append("errors linearised")
    else:
        parts.append(f"errors from {replicates.weights.shape[1]} {replicates.method} replicate weights")
    if calibration is not None:
        parts.append(f"weights calibrated ({_calibration_text(calibration)})")
    return "; ".join(parts)


def _drawn_text(stage: Stage, n: int) -> str:
    columns = stage.columns
    strata = counted(stage.n_strata, "stratum", "strata")
    strata = f"{strata} ({columns['strata']})" if "strata" in columns else "no strata"
    units = f"{counted(stage.n_psu, 'sampling unit', 'sampling units')} ({columns.get('psu')})"
    if "psu" not in columns:
        units = "every record a sampling unit"
    fpc = f"population counts ({columns['fpc']})" if "fpc" in columns else "drawn with replacement"
    return f"{strata}, {units}, {fpc}"


def _replicates_text(replicates: Replicates) -> str:
    """Return number, method and scale of the replicate weights."""
    return (
        f"{replicates.weights.shape[1]} {replicates.method}, scale {replicates.scale:.4g}, deviations "
        f"from the {replicates.centre}"
    )


def _calibration_text(calibration: Calibration) -> str:
    """Return the method and the number of totals."""
    return f"{calibration.method}, {len(calibration.names)} totals"


def _periods_text(column: pd.Series) -> str:
    """Return the periods of the survey, from their column."""
    periods = as_text(encode(column)[1])
    return f"{len(periods)} ({column.name}: {name_some(periods, limit=8)})"


def _weights_text(weights: np.ndarray) -> str:
    """Return range and median of the weights, and what their differences cost (Kish)."""
    weights = weights[weights != 0]
    kish = len(weights) * float(np.sum(weights**2)) / float(weights.sum()) ** 2
    low, median, high = np.quantile(weights, [0, 0.5, 1])
    return f"{low:,.4g} to {high:,.4g}, median {median:,.4g}, unequal weighting effect {kish:.3f}"


def _missing_text(missing: Mapping[str, int]) -> str:
    """Return the records without a value, by column."""
    shown = name_some((f"{name} {count:,}" for name, count in missing.items()), limit=30)
    return f"item non-response (records): {shown}"


def _stage_text(stage: Stage, n: int) -> str:
    strata = "no strata" if stage.n_strata == 1 else f"{stage.n_strata:,} strata"
    records = " (records)" if stage.n_psu == n else ""
    fpc = "with replacement" if stage.fpc is None else "fpc"
    return f"{strata}, {stage.n_psu:,} units{records}, {fpc}"
