"""The likelihood of a transformation over its parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.calls import answered
from sae.errors import SaeInputError
from sae.plots.figures import DIRECT, MODEL, QUIET, as_written, new_chart, tidy

if TYPE_CHECKING:
    from sae.plots.chart import Chart

__all__ = ["profile"]


@as_written
@answered
def profile(transformation: Mapping[str, Any], *, title: str = "", source: str = "") -> Chart:
    """Draw the profile likelihood of the parameter of a transformation, and where its maximum is.

    Parameters
    ----------
    transformation : mapping
        ``name``, ``parameter``, ``grid`` and ``profile``: ``fit.provenance["transformation"]`` of an `EBP`.
    title, source : str
        Words above and below.

    Returns
    -------
    Chart
        A figure of matplotlib with `save`.

    Raises
    ------
    SaeInputError
        If the transformation has no parameter that was estimated.

    Examples
    --------
    >>> record = {"name": "box-cox", "parameter": 0.2, "grid": [0.0, 0.2, 0.4], "profile": [-9.0, -7.0, -8.5]}
    >>> len(sae.plots.profile(record).axes)
    1
    """
    if "profile" not in transformation:
        raise SaeInputError(
            f"The transformation {transformation.get('name', 'none')} has no parameter that was estimated.",
            hint='Those of "box-cox", "dual-power" and "log-shift" are.',
        )
    grid = np.asarray(transformation["grid"], dtype=float)
    loglik = np.asarray(transformation["profile"], dtype=float)
    at, top = float(transformation["parameter"]), float(loglik.max())
    figure = new_chart(6.4, 4.2, title or f"Profile likelihood of the parameter of {transformation['name']}")
    axes = figure.subplots()
    axes.plot(grid, loglik - top, color=MODEL, linewidth=1.8, marker="o", markersize=3)
    if transformation["name"] == "log-shift":  # whose grid doubles at each step
        axes.set_xscale("symlog", linthresh=max(abs(at), 1.0))
    axes.axvline(at, color=DIRECT, linewidth=1.3)
    axes.annotate(
        f"{at:.3g}",
        (at, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=9,
        color=DIRECT,
    )
    axes.set_xlabel("Shift" if transformation["name"] == "log-shift" else "λ")
    axes.set_ylabel("Log-likelihood, less its largest on the grid")
    tidy(axes)
    if source:
        figure.supxlabel(f"Source: {source}.", fontsize=8, color=QUIET, x=0.01, ha="left")
    return figure
