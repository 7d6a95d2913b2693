"""The EBLUP of a Fay–Herriot model: all fits in one kernel call, errors, intervals, the way back."""

from __future__ import annotations

from typing import Any

import numpy as np

from sae.area_level.arrays import AreaArrays
from sae.area_level.fay_herriot.mse import reported_mse
from sae.area_level.fay_herriot.tables import eblup_tables
from sae.area_level.finite_population import FinitePopulation
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
    replicates: int,
    seed: int | None,
    finite: FinitePopulation | None = None,
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

    Returns
    -------
    Eblup
        In the order of the table.
    """
    rows, order = arrays.rows, arrays.in_order
    fits = arrays.fit(method)
    rest = np.zeros(len(arrays.y))
    if finite is not None:
        rest = finite.rest_variance(arrays.D[order], rows.sampled, rows.fit)[arrays.order]
    parts = [_predict(arrays, fits, k, method) for k in range(len(rows.fits))]
    ends = [
        _interval(arrays, fits, k, part, level, rest[areas])
        for k, (part, areas) in enumerate(zip(parts, arrays.blocks, strict=True))
    ]
    estimate, error, gamma, left = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("estimate", "mse", "gamma", "g1")
    )
    joint = JointError.of_fits(error, [part.factor for part in parts])
    reported = reported_mse(
        arrays, fits, parts, transform, way=mse, method=method, back=back, replicates=replicates, seed=seed
    )
    sizes = np.diff(arrays.offsets)
    missing = np.repeat([part.kind is IntervalKind.NONE for part in ends], sizes)
    columns: dict[str, Any] = {
        "estimate": transform.mean(estimate, error if back == "crude" else left),
        "mse": reported.mse,
        "low": transform.inverse(np.clip(np.concatenate([part.low for part in ends]), *transform.bounds)),
        "high": transform.inverse(np.clip(np.concatenate([part.high for part in ends]), *transform.bounds)),
        "interval": np.repeat(np.array([part.text for part in ends], dtype=object), sizes),
        "gamma": gamma,
        "mse_method": reported.name,
        "prior": np.repeat(np.array([part.prior for part in ends], dtype=object), sizes),
    }
    columns = {name: values[order] for name, values in columns.items()}
    reported_joint = joint.scaled(transform.slope(estimate, left), reported.mse).reordered(order)
    source = NormalDraws(
        estimate[order], joint.reordered(order), transform, rows.labels, arrays.coefficient_labels
    )
    known = None
    if finite is not None:
        columns, reported_joint, source = finite.figures(columns, reported_joint, source, rest[order])
        known = 1.0 - finite.fraction, finite.of(np.zeros(len(rest)))
    joint, draws = same_source(
        ends,
        [arrays.order[areas] for areas in arrays.blocks],
        columns["estimate"],
        reported_joint,
        source,
        known,
    )
    return Eblup(
        **columns,
        joint=joint,
        source=draws,
        tables=eblup_tables(arrays, fits, parts, method),
        messages=(
            *_boundary(arrays, fits),
            *arrays.messages(),
            *reported.messages,
            *no_interval(missing, arrays.names),
        ),
    )


def _predict(arrays: AreaArrays, fits: FayHerriotFits, k: int, method: str) -> Predictions:
    areas = arrays.blocks[k]
    return predict(
        float(fits.variance[0, k]),
        fits.coefficients[0, k],
        fits.root[0, k],
        arrays.y[areas],
        arrays.D[areas],
        np.ascontiguousarray(arrays.X[areas].T),
        arrays.sampled[areas],
        method,
    )


def _interval(
    arrays: AreaArrays, fits: FayHerriotFits, k: int, part: Predictions, level: float, rest: np.ndarray
) -> Interval:
    areas = arrays.blocks[k]
    ends = area_intervals(
        float(fits.variance[0, k]),
        part.estimate,
        part.mse,
        arrays.y[areas],
        arrays.D[areas],
        np.ascontiguousarray(arrays.X[areas].T),
        arrays.sampled[areas],
        level,
        rest,
    )
    return ends if arrays.scale == "identity" else ends.detailed(f"{arrays.scale} scale")


def _boundary(arrays: AreaArrays, fits: FayHerriotFits) -> list[Message]:
    zero = [arrays.rows.where(int(k)).removeprefix(" in ") for k in np.flatnonzero(fits.variance[0] == 0.0)]
    return [boundary(list(filter(None, zero)), len(arrays.rows.fits))] if zero else []
