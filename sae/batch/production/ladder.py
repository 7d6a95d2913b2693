"""The ladder: models are tried in a declared order, and each fit stops at the first that passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import scipy

from sae.batch.estimate import estimator
from sae.batch.kinds import options
from sae.batch.production.cells import Cells, Part, direct_part
from sae.batch.production.sections import Limits, RungSection
from sae.batch.production.spec import ProductionFile
from sae.errors import ConvergenceWarning, SaeError, SaeInputError
from sae.numerics.inference.joint_error import JointError
from sae.results import AreaModel, Result
from sae.results.summary import failed_checks
from sae.tables import cv_of

__all__ = ["Step", "climbed", "step_table"]

_QUANTILE = 1.959963984540054  # of the normal, for intervals of 95 %
Larger = Callable[[str], tuple[np.ndarray, np.ndarray]]  # of the larger units: estimate, variance


@dataclass(frozen=True)
class Step:
    """What became of one rung in one fit.

    Attributes
    ----------
    indicator, level, groups, fit, rung, verdict, reason : str
    place : int
        Of the rung in its ladder, from 1.
    """

    indicator: str
    level: str
    groups: str
    fit: str
    place: int
    rung: str
    verdict: str
    reason: str


def step_table(steps: Sequence[Step]) -> pd.DataFrame:
    """Return steps as a table, one row each."""
    frame = pd.DataFrame(steps, columns=[one.name for one in fields(Step)])
    return frame.astype({one.name: np.int64 if one.name == "place" else object for one in fields(Step)})


def climbed(file: ProductionFile, cells: Cells, larger: Larger) -> tuple[dict[int, Part], list[Step]]:
    """Return the accepted part of every fit that has one, and what became of each rung.

    Parameters
    ----------
    file : ProductionFile
    cells : Cells
    larger : callable
        Level to direct estimate and variance of the larger unit that each row lies in.
    """
    ladder = file.ladder(cells.indicator, cells.crossing.level)
    rungs = ladder.rung if ladder is not None else [RungSection(kind="direct")]
    pending, parts, steps = list(range(len(cells.keys))), {}, []
    for place, rung in enumerate(rungs, 1):
        if not pending:
            break
        lacking = {fit: _lacking(cells, fit, rung.accept_if) for fit in pending}
        fitted = [fit for fit in pending if not lacking[fit]]
        tried = {**lacking, **(_tried(file, cells, rung, fitted, larger) if fitted else {})}
        for fit in pending:
            part = tried[fit]
            reason = part if isinstance(part, str) else _fault(part, rung.accept_if)
            if not isinstance(part, str) and not reason:
                parts[fit] = part
            verdict = "refused" if reason else "accepted"
            steps.append(
                Step(
                    cells.indicator,
                    cells.crossing.level,
                    " × ".join(cells.crossing.groups),
                    cells.key_text(fit),
                    place,
                    rung.name,
                    verdict,
                    reason,
                )
            )
        pending = [fit for fit in pending if fit not in parts]
    return parts, steps


def _lacking(cells: Cells, fit: int, limits: Limits) -> str:
    """Return which data a rung wants that a fit does not have; empty where it has them."""
    rows = cells.rows_of([fit])
    share, size = (cells.frame[name].to_numpy(dtype=float)[rows] for name in ("direct", "n_eff"))
    sampled = np.isfinite(share)
    if limits.areas is not None and sampled.sum() < limits.areas:
        return f"{int(sampled.sum())} sampled areas, fewer than {limits.areas}"
    if limits.cases is None:
        return ""
    known = sampled & np.isfinite(size)
    if not known.any():
        return "no effective sample size is known"
    mean = np.average(share[known], weights=size[known])
    cases = float(np.median(size[known]) * min(mean, 1.0 - mean))
    if cases >= limits.cases:
        return ""
    return f"{cases:.2g} effective cases in the median area, fewer than {limits.cases:g}"


def _fault(part: Part, limits: Limits) -> str:
    """Return why a part may not be taken; empty where it may."""
    frame = part.frame
    if not frame["estimate"].notna().any():
        return "no estimate"
    if limits.median_cv is not None:
        cv = frame["cv"].dropna()
        if not len(cv):
            return "no CV can be had"
        if cv.median() > limits.median_cv:
            return f"median CV {cv.median():.1%}, above {limits.median_cv:.1%}"
    if limits.diagnostics and part.doubts:
        return "; ".join(part.doubts)
    return ""


def _tried(
    file: ProductionFile, cells: Cells, rung: RungSection, fits: Sequence[int], larger: Larger
) -> dict[int, Part | str]:
    if rung.kind == "direct":
        return {fit: direct_part(cells, fit) for fit in fits}
    if rung.kind == "synthetic":
        return _synthetic(file, cells, rung, fits, larger)
    if cells.rough:
        return dict.fromkeys(fits, cells.rough)
    together = "per" in options(rung.kind)
    spec = file.model_file(cells.indicator, cells.crossing.by, rung, cells.per)
    try:
        model = estimator(spec)
    except SaeError as error:
        return dict.fromkeys(fits, error.what)
    assert model is not None
    if together:
        return _modelled(model, cells, fits, file.publish.seed)
    alone = [_modelled(model, cells, [fit], file.publish.seed) for fit in fits]
    return {fit: part for some in alone for fit, part in some.items()}


def _modelled(
    model: AreaModel[Any], cells: Cells, fits: Sequence[int], seed: int | None
) -> dict[int, Part | str]:
    """Fit some fits together; each alone where it cannot be told which of them is at fault."""

    def each() -> dict[int, Part | str]:
        alone = [_modelled(model, cells, [fit], seed) for fit in fits]
        return {fit: part for some in alone for fit, part in some.items()}

    try:
        result, refused = model.fit_each(cells.direct_of(fits), areas=cells.areas, seed=seed)
    except SaeError as error:
        if len(fits) == 1:
            return {fits[0]: error.what}
        if len(error.fits) == len(fits):
            return {fits[k]: reason.what for k, reason in error.fits.items()}
        return each()
    reasons: dict[int, Part | str] = {
        (cells.keys.index(key) if key in cells.keys else fits[0]): error.what
        for key, error in refused.items()
    }
    if result is None:
        return reasons
    unsure = [message.text for message in result.messages if message.category is ConvergenceWarning]
    if unsure and len(fits) > 1:
        return each()
    if unsure:
        return {fits[0]: unsure[0]}
    return reasons | _parts(cells, result, [fit for fit in fits if fit not in reasons])


def _parts(cells: Cells, result: Result, fits: Sequence[int]) -> dict[int, Part]:
    """Return the rows of a result by fit, matched by the labels of domain and period."""
    frame = result.estimates.frame
    rows = cells.rows_of(fits)
    keys = ["domain", "time"]
    own = pd.MultiIndex.from_frame(cells.frame.iloc[rows][keys])
    places = pd.MultiIndex.from_frame(frame[keys]).get_indexer(own)
    if len(frame) != len(rows) or (places < 0).any():
        raise SaeInputError(f"{cells.indicator}: the model gave {len(frame)} rows for {len(rows)} domains.")
    parts = {}
    for fit in fits:
        mine = cells.fit[rows] == fit
        here = places[mine]
        residuals = result.residuals.loc[result.residuals.index.isin(here)]
        parts[fit] = Part(
            frame.iloc[here].set_axis(rows[mine]), result.joint, here, tuple(failed_checks(residuals))
        )
    return parts


def _synthetic(
    file: ProductionFile, cells: Cells, rung: RungSection, fits: Sequence[int], larger: Larger
) -> dict[int, Part | str]:
    """Give every area the direct estimate of the larger unit that it lies in.

    The mean squared error is its average over the areas of a fit, (Σ (Ŷ_S - Ŷ_d)² - Σ v(Ŷ_d)) / m, and at
    least the variance of Ŷ_S: Gonzalez and Waksberg (1973); Rao and Molina (2015), section 3.2. Where the
    areas differ less than their own errors it cannot be told.
    """
    levels = list(file.production.levels)
    above = levels[levels.index(cells.crossing.level) + 1 :]
    level = rung.of or next(iter(above), None)
    if level not in above:
        return dict.fromkeys(fits, "no level above to be synthetic of")
    try:
        estimate, variance = larger(level)
    except SaeError as error:
        return dict.fromkeys(fits, error.what)
    share = cells.direct.units.get(cells.indicator) == "share"
    parts: dict[int, Part | str] = {}
    for fit in fits:
        rows = cells.rows_of([fit])
        parts[fit] = _one_synthetic(cells, rows, estimate[rows], variance[rows], level, share)
    return parts


def _one_synthetic(
    cells: Cells, rows: np.ndarray, value: np.ndarray, variance: np.ndarray, level: str, share: bool
) -> Part | str:
    if not np.isfinite(value).any():
        return f"no direct estimate at {level}"
    frame = cells.frame.iloc[rows]
    direct = frame["direct"].to_numpy(dtype=float)
    psi = np.full(len(rows), np.nan)
    sampled = rows < len(cells.direct)
    psi[sampled] = cells.direct.frame["vardir"].to_numpy(dtype=float)[rows[sampled]]
    usable = np.isfinite(direct) & np.isfinite(psi) & np.isfinite(value)
    if usable.sum() < 2:
        return f"{int(usable.sum())} areas with a direct estimate and its error: its bias cannot be told"
    bias = float(np.mean((value - direct)[usable] ** 2 - psi[usable]))
    if bias <= 0:
        return "the areas differ less than their errors: its bias cannot be told"
    mse = np.where(np.isfinite(variance), np.maximum(bias, variance), np.nan)
    se = np.sqrt(mse)
    low, high = value - _QUANTILE * se, value + _QUANTILE * se
    if share:
        low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    known = np.isfinite(value) & np.isfinite(mse)
    filled = frame.assign(
        estimate=np.where(known, value, np.nan),
        mse=mse,
        se=se,
        cv=cv_of(se, value),
        ci_low=low,
        ci_high=high,
        interval="normal",
        gamma=0.0,
        flag="e",
        method=f"synthetic, of {level}",
        mse_method="average over the areas (Gonzalez and Waksberg 1973)",
    )
    shared = np.sqrt(np.where(known, np.minimum(variance, mse), 0.0))
    empty = scipy.sparse.csr_array((len(rows), 0))
    joint = JointError(
        np.sqrt(np.where(known, mse, 0.0) - shared**2), scipy.sparse.csr_array(shared[:, None]), empty, empty
    )
    return Part(filled.set_axis(rows), joint, np.arange(len(rows)))
