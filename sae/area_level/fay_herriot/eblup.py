"""The EBLUP of a Fay–Herriot model: all fits in one kernel call, errors, intervals, the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.area_level.arrays import AreaArrays, joined
from sae.area_level.fay_herriot.mse import reported_mse
from sae.area_level.fay_herriot.tables import eblup_tables
from sae.numerics.fay_herriot.fit import FayHerriotFits
from sae.numerics.fay_herriot.mse import Predictions, predict
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import Transform
from sae.results import (
    Eblup,
    Interval,
    IntervalKind,
    Message,
    NormalDraws,
    area_intervals,
    boundary,
    no_interval,
    same_source,
)

if TYPE_CHECKING:
    from sae.area_level.fay_herriot.sources import Sources
    from sae.area_level.finite_population import FinitePopulation

__all__ = ["METHOD_NAMES", "fit_eblup"]

METHOD_NAMES = {
    "reml": "REML",
    "ml": "ML",
    "fh": "Fay–Herriot moment",
    "pr": "Prasad–Rao moment",
    "ll-reml": "Li–Lahiri adjusted REML",
    "ll-ml": "Li–Lahiri adjusted ML",
    "yl-reml": "Yoshimori–Lahiri adjusted REML",
    "yl-ml": "Yoshimori–Lahiri adjusted ML",
    "bayes": "Bayes",
}


def fit_eblup(
    arrays: AreaArrays,
    transform: Transform,
    *,
    method: str,
    mse: str,
    back: str,
    level: float,
    replicates: int | None,
    seed: int | None,
    finite: FinitePopulation | None = None,
    sources: Sources | None = None,
) -> Eblup:
    """Fit, predict, measure the error, and take it back to the reported scale.

    Parameters
    ----------
    arrays : AreaArrays
        F fits of M areas in all.
    transform : Transform
    method : str
        Of the model variance: see `FayHerriot`.
    mse : str
        As `chosen_mse` gives it.
    back : {"unbiased", "naive", "crude"}
    level : float
        Of the intervals.
    replicates : int
        Of the bootstrap.
    seed : int or None
        Of the bootstrap.
    finite : FinitePopulation, optional
        Sizes of the populations whose figures are predicted.
    sources : Sources, optional
        Several direct estimates of an area, of which `arrays` has the weighted means.

    Returns
    -------
    Eblup
        In the order of the table.
    """
    rows = arrays.rows
    fits = arrays.fit(method) if sources is None else sources.fits
    rest = np.zeros(len(arrays.y))
    if finite is not None:
        rest = finite.rest_variance(arrays.unplaced(arrays.D), rows.sampled, rows.fit)
    rest = arrays.placed(rest)
    if sources is None:
        parts = [_predict(arrays, fits, k, method) for k in range(len(rows.fits))]
        ends = [
            _interval(arrays, fits, k, part, level, rest[areas])
            for k, (part, areas) in enumerate(zip(parts, arrays.blocks, strict=True))
        ]
    else:
        parts = [sources.predict(k) for k in range(len(rows.fits))]
        ends = [sources.interval(k, part, level) for k, part in enumerate(parts)]
    estimate, error, gamma, left = (
        joined([getattr(part, name) for part in parts]) for name in ("estimate", "mse", "gamma", "g1")
    )
    reported = reported_mse(
        arrays, fits, parts, transform, way=mse, method=method, back=back, replicates=replicates, seed=seed
    )
    joint, reported_joint = _joint_errors(arrays, parts, transform, (estimate, left), error, reported.mse)
    sizes = np.diff(arrays.offsets)
    columns: dict[str, Any] = {
        "estimate": transform.mean(estimate, error if back == "crude" else left),
        "mse": reported.mse,
        "low": transform.inverse(np.clip(joined([part.low for part in ends]), *transform.bounds)),
        "high": transform.inverse(np.clip(joined([part.high for part in ends]), *transform.bounds)),
        "interval": _of_areas([part.text for part in ends], sizes),
        "gamma": gamma,
        "mse_method": reported.name,
        "prior": _of_areas([part.prior for part in ends], sizes),
    }
    if len(parts) > 1:
        order = arrays.in_order
        columns = {
            name: values if isinstance(values, str) else values[order] for name, values in columns.items()
        }
        estimate = estimate[order]
    shown = arrays if sources is None else sources.unbiased
    source = NormalDraws(estimate, joint, transform, rows.labels, shown.coefficient_labels)
    known = None
    if finite is not None:
        columns, reported_joint, source = finite.figures(
            columns, reported_joint, source, arrays.unplaced(rest)
        )
        known = 1.0 - finite.fraction, finite.of(np.zeros(len(estimate)))
    reported_joint, draws = same_source(
        ends,
        [arrays.order[areas] for areas in arrays.blocks],
        columns["estimate"],
        reported_joint,
        source,
        known,
    )
    missing = np.repeat([part.kind is IntervalKind.NONE for part in ends], sizes)
    return Eblup(
        **columns,
        joint=reported_joint,
        source=draws,
        tables=eblup_tables(shown, fits, parts, method),
        messages=(
            *_boundary(arrays, fits),
            *arrays.messages(),
            *([] if sources is None else sources.messages()),
            *reported.messages,
            *no_interval(missing, arrays.names),
        ),
    )


def _joint_errors(
    arrays: AreaArrays,
    parts: list[Predictions],
    transform: Transform,
    moments: tuple[np.ndarray, np.ndarray],
    error: np.ndarray,
    reported: np.ndarray,
) -> tuple[JointError, JointError]:
    """Return the joint errors on the model's scale, with the MSE `error`, and of the reported figures.

    In the order of the table, and made when they are read. `moments` are the mean and variance of each area
    on the model's scale.
    """
    fitted = JointError.later(lambda: JointError.of_fits(error, [part.factor for part in parts]))
    scaled = fitted
    if transform.name != "identity" or reported is not error:
        scaled = JointError.later(lambda: fitted.scaled(transform.slope(*moments), reported))
    if len(parts) == 1:
        return fitted, scaled
    order = arrays.in_order
    return JointError.later(lambda: fitted.reordered(order)), JointError.later(
        lambda: scaled.reordered(order)
    )


def _of_areas(texts: list[str], sizes: np.ndarray) -> str | np.ndarray:
    """Return the text of each area's fit; one text where all fits have the same."""
    return texts[0] if len(set(texts)) == 1 else np.repeat(np.array(texts, dtype=object), sizes)


def _predict(arrays: AreaArrays, fits: FayHerriotFits, k: int, method: str) -> Predictions:
    areas = arrays.blocks[k]
    return predict(
        float(fits.variance[0, k]),
        fits.coefficients[0, k],
        fits.root[0, k],
        arrays.y[areas],
        arrays.D[areas],
        arrays.columns(areas),
        arrays.sampled[areas],
        method,
    )


def _interval(
    arrays: AreaArrays,
    fits: FayHerriotFits,
    k: int,
    part: Predictions,
    level: float,
    rest: np.ndarray,
) -> Interval:
    areas = arrays.blocks[k]
    ends = area_intervals(
        float(fits.variance[0, k]),
        part.estimate,
        part.mse,
        arrays.y[areas],
        arrays.D[areas],
        arrays.columns(areas),
        arrays.sampled[areas],
        level,
        rest,
    )
    return ends if arrays.scale == "identity" else ends.detailed(f"{arrays.scale} scale")


def _boundary(arrays: AreaArrays, fits: FayHerriotFits) -> list[Message]:
    zero = [arrays.rows.where(int(k)).removeprefix(" in ") for k in np.flatnonzero(fits.variance[0] == 0.0)]
    return [boundary(list(filter(None, zero)), len(arrays.rows.fits))] if zero else []
