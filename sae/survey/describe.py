"""A survey as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae.errors import name_some
from sae.survey.codes import as_text, encode

if TYPE_CHECKING:
    from sae.survey.survey import Stage, Survey

__all__ = ["describe", "summarise"]


def describe(survey: Survey) -> str:
    """Lines of the repr: records, design, replicates, periods, notes."""
    n, total = len(survey), float(survey.weights.sum())
    head = f"Survey: {n:,} records, weighted total {total:,.0f}"
    if survey.layout:
        head += f", layout {survey.layout}"
    lines = [head]
    if survey.mask is not None:
        inside = survey.mask
        lines.append(
            f"  subset: {int(inside.sum()):,} records, weighted {float(survey.weights[inside].sum()):,.0f}"
        )
    lines.append(f"  design: {'; '.join(_stage_text(survey, stage) for stage in survey.stages)}")
    if survey.replicates is not None:
        made = survey.replicates
        lines.append(
            f"  replicates: {made.weights.shape[1]} {made.method}, scale {made.scale:.4g}, deviations "
            f"from the {made.centre}"
        )
    if survey.calibration is not None:
        calibration = survey.calibration
        lines.append(f"  calibrated: {calibration.method}, {len(calibration.names)} totals")
    if survey.time is not None:
        periods = as_text(encode(survey.frame[survey.time])[1])
        lines.append(f"  periods: {len(periods)} ({survey.time}: {name_some(periods, limit=8)})")
    if survey.notes:
        lines.append(f"  notes: {len(survey.notes)}, see summary()")
    return "\n".join(lines)


def summarise(survey: Survey) -> str:
    """Return the repr, the spread of the weights and every note."""
    weights = survey.weights
    kish = len(weights) * float(np.sum(weights**2)) / float(weights.sum()) ** 2
    quantiles = np.quantile(weights, [0, 0.5, 1])
    lines = [
        describe(survey).rsplit("\n  notes:", 1)[0],
        f"  weights: {quantiles[0]:,.4g} to {quantiles[2]:,.4g}, median {quantiles[1]:,.4g}, "
        f"unequal weighting effect {kish:.3f}",
        f"  degrees of freedom: {survey.stages[0].n_psu - survey.stages[0].n_strata:,}, lonely units: "
        f"{survey.lonely_psu}",
    ]
    if survey.source:
        lines.append(f"  file: {survey.source.get('file')}, sha256 {survey.source.get('sha256')}")
    if survey.notes:
        lines += ["  notes:", *(f"    - {note}" for note in survey.notes)]
    return "\n".join(lines)


def _stage_text(survey: Survey, stage: Stage) -> str:
    strata = "no strata" if stage.n_strata == 1 else f"{stage.n_strata:,} strata"
    records = " (records)" if stage.n_psu == len(survey) else ""
    fpc = "with replacement" if stage.fpc is None else "fpc"
    return f"{strata}, {stage.n_psu:,} units{records}, {fpc}"
