"""Parts of a survey as text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sae.errors import name_some
from sae.survey.calibration import Calibration
from sae.survey.checks import counted
from sae.survey.codes import as_text, encode
from sae.survey.design import Stage
from sae.survey.replicates import Replicates

__all__ = [
    "calibration_text",
    "design_text",
    "missing_text",
    "periods_text",
    "replicates_text",
    "stages_text",
    "weights_text",
]


def stages_text(stages: tuple[Stage, ...], n: int) -> str:
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
        parts.append(f"weights calibrated ({calibration_text(calibration)})")
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


def replicates_text(replicates: Replicates) -> str:
    """Return number, method and scale of the replicate weights."""
    return (
        f"{replicates.weights.shape[1]} {replicates.method}, scale {replicates.scale:.4g}, deviations "
        f"from the {replicates.centre}"
    )


def calibration_text(calibration: Calibration) -> str:
    """Return the method and the number of totals."""
    return f"{calibration.method}, {len(calibration.names)} totals"


def periods_text(column: pd.Series) -> str:
    """Return the periods of the survey, from their column."""
    periods = as_text(encode(column)[1])
    return f"{len(periods)} ({column.name}: {name_some(periods, limit=8)})"


def weights_text(weights: np.ndarray) -> str:
    """Return range and median of the weights, and what their differences cost (Kish)."""
    weights = weights[weights != 0]
    kish = len(weights) * float(np.sum(weights**2)) / float(weights.sum()) ** 2
    low, median, high = np.quantile(weights, [0, 0.5, 1])
    return f"{low:,.4g} to {high:,.4g}, median {median:,.4g}, unequal weighting effect {kish:.3f}"


def missing_text(missing: Mapping[str, int]) -> str:
    """Return the records without a value, by column."""
    shown = name_some((f"{name} {count:,}" for name, count in missing.items()), limit=30)
    return f"item non-response (records): {shown}"


def _stage_text(stage: Stage, n: int) -> str:
    strata = "no strata" if stage.n_strata == 1 else f"{stage.n_strata:,} strata"
    records = " (records)" if stage.n_psu == n else ""
    fpc = "with replacement" if stage.fpc is None else "fpc"
    return f"{strata}, {stage.n_psu:,} units{records}, {fpc}"
