"""Residuals of a fit: where it misses, which areas pull at it, and whether they look normal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError
from sae.plots.figures import DIRECT, MODEL, QUIET, as_written, names_of, new_chart, tidy
from sae.tables import labels as codes_of
from sae.tables import pandas_frame, require, to_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sae.plots.chart import Chart

__all__ = ["influence", "qq", "residuals"]

_NAMED = 4  # areas named in a panel
_FAR = 2.0  # standardised residuals beyond which an area may be named
_LONGEST = 28  # characters of a name
_QQ = {"standardised": "Standardised residuals", "random_effect": "Predicted random effects, standardised"}


@as_written
@answered
def residuals(
    frame: pd.DataFrame,
    *,
    labels: str | Mapping[Any, str] | None = None,
    title: str = "",
    source: str = "",
) -> Chart:
    """Draw standardised residuals against fitted values and, where known, against leverage.

    The areas with the largest residuals, and those that pull most at the coefficients, bear their names.
    Dashed lines in the second panel show where Cook's distance is 0.5 and 1.

    Parameters
    ----------
    frame : DataFrame
        One row per area with a sample: ``domain``, ``fitted``, ``standardised`` and ``leverage``, such as
        ``result.residuals``; leverages may all be missing.
    labels : str or mapping, optional
        Column of names, or names by ``domain``; those not named keep their code.
    title, source : str
        Words above, in as many lines as they need, and below.

    Returns
    -------
    Chart
        A figure of matplotlib with `save`.

    Raises
    ------
    SaeInputError
        If a column is missing, or no area has all figures.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B", "C"], "fitted": [1.0, 2.0, 3.0],
    ...                       "standardised": [0.5, -1.0, 0.6], "leverage": [0.5, 0.2, 0.3]})
    >>> len(sae.plots.residuals(frame).axes)
    2
    """
    frame = pandas_frame(frame, "The residuals")
    require(frame, ["leverage"], "The table has", "(that the chart needs)")
    known = frame["leverage"].notna().any()
    rows = _complete(frame, labels, "fitted", "standardised", *(["leverage"] if known else []))
    panels = 2 if known else 1
    figure = new_chart(5.5 * panels, 4.8, title or f"Residuals of {len(rows)} areas")
    axes = np.atleast_1d(figure.subplots(1, panels, sharey=True))
    _against_fitted(axes[0], rows)
    if known:
        _against_leverage(axes[1], rows)
    _finish(figure, source)
    return figure


@as_written
@answered
def qq(
    frame: pd.DataFrame,
    *,
    units: pd.DataFrame | None = None,
    labels: str | Mapping[Any, str] | None = None,
    title: str = "",
    source: str = "",
) -> Chart:
    """Draw residuals, and random effects where given, against the quantiles of a normal distribution.

    The band holds each ordered value with probability 0.95 by itself, from the beta distribution of order
    statistics; of 100 areas about five lie outside by chance.

    Parameters
    ----------
    frame : DataFrame
        One row per area with a sample: ``domain``, ``standardised`` and, if there, ``random_effect``.
    units : DataFrame, optional
        Of a model of units the other level, in a panel of its own: ``domain`` and ``standardised`` by unit,
        such as `sae.unit_level.unit_residuals` returns them.
    labels : str or mapping, optional
        Column of names, or names by ``domain``; those not named keep their code.
    title, source : str
        Words above, in as many lines as they need, and below.

    Returns
    -------
    Chart
        A figure of matplotlib with `save`; one panel per column.

    Raises
    ------
    SaeInputError
        If a column is missing, or fewer than three areas have all figures.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B", "C"], "standardised": [0.5, -1.0, 0.6]})
    >>> len(sae.plots.qq(frame).axes)
    1
    """
    frame = pandas_frame(frame, "The residuals")
    columns = [name for name in _QQ if name in frame or name == "standardised"]
    rows = _complete(frame, labels, *columns)
    if len(rows) < 3:
        raise SaeInputError(f"A Q–Q chart of {len(rows)} areas says nothing; it needs three.")
    own = None if units is None else _complete(pandas_frame(units, "The units"), None, "standardised")
    what = f"{len(rows)} areas" + ("" if own is None else f" and their {len(own):,} units")
    panels = len(columns) + (own is not None)
    figure = new_chart(5.6 * panels, 5.2, title or f"{what} against the normal distribution")
    all_axes = np.atleast_1d(figure.subplots(1, panels))
    for axes, column in zip(all_axes, columns, strict=False):
        values = rows[column].to_numpy()
        if column != "standardised":
            spread = values.std(ddof=1)
            values = (values - values.mean()) / (spread if spread > 0 else 1.0)
        _quantiles(axes, values, rows["domain"].tolist())
        axes.set_ylabel(_QQ[column] if own is None else f"{_QQ[column]}, of areas")
    if own is not None:
        _quantiles(all_axes[-1], own["standardised"].to_numpy(), own["domain"].tolist())
        all_axes[-1].set_ylabel("Standardised residuals of units")
    words = "Band: 95 % for each value by itself; about 1 in 20 lies outside by chance."
    _finish(figure, source, words)
    return figure


@as_written
@answered
def influence(
    frame: pd.DataFrame,
    *,
    labels: str | Mapping[Any, str] | None = None,
    title: str = "",
    source: str = "",
) -> Chart:
    """Draw what each area moves when it is left out: coefficients, and the estimate of another area.

    Parameters
    ----------
    frame : DataFrame
        One row per area with a sample: ``domain``, ``cook``, ``deleted_standardised`` and, where estimates
        are means, ``largest_move``, as `sae.unit_level.area_influence` returns them.
    labels : str or mapping, optional
        Column of names, or names by ``domain``; those not named keep their code.
    title, source : str
        Words above and below.

    Returns
    -------
    Chart
        A figure of matplotlib with `save`.

    Raises
    ------
    SaeInputError
        If a column is missing, or no area has all figures.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B"], "cook": [0.1, 0.9], "deleted_standardised": [0.4, -2.5],
    ...                       "largest_move": [0.02, 0.3]})
    >>> len(sae.plots.influence(frame).axes)
    2
    """
    frame = pandas_frame(frame, "The influence")
    words = {
        "cook": "Cook's distance of the coefficients",
        "largest_move": "Largest move of another area's estimate,\nin its standard errors",
    }
    drawn = ["cook", *(["largest_move"] if "largest_move" in frame else [])]
    rows = _complete(frame, labels, *drawn, "deleted_standardised")
    figure = new_chart(5.5 * len(drawn), 4.8, title or f"What {len(rows)} areas move when each is left out")
    x = rows["deleted_standardised"].to_numpy()
    for axes, column in zip(np.atleast_1d(figure.subplots(1, len(drawn))), drawn, strict=True):
        y = rows[column].to_numpy()
        for level in (-2, 0, 2):
            axes.axvline(level, color=QUIET, linewidth=1, linestyle="-" if level == 0 else (0, (4, 3)))
        _points(axes, x, y)
        axes.set_xlabel("Mean of the units less what the others foretell, standardised")
        axes.set_ylabel(words[column])
        axes.set_ylim(bottom=0.0)
        _name(axes, x, y, rows["domain"], np.argsort(-y, kind="stable")[:_NAMED])
    _finish(figure, source)
    return figure


def _complete(frame: pd.DataFrame, names: str | Mapping[Any, str] | None, *columns: str) -> pd.DataFrame:
    require(frame, ["domain", *columns], "The table has", "(that the chart needs)")
    numbers = {name: to_numbers(frame, name) for name in columns}
    areas = names_of(frame, codes_of(frame["domain"]), names)
    rows = pd.DataFrame({"domain": areas.to_numpy(dtype=object), **numbers}).dropna()
    if rows.empty:
        raise SaeInputError("No area has all the figures of the chart.")
    return rows.reset_index(drop=True)


def _points(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    few = len(x) <= 200
    axes.scatter(
        x, y, s=26 if few else 12, color=MODEL, alpha=0.6, edgecolor="white", linewidth=0.4, zorder=3
    )


def _against_fitted(axes: Axes, rows: pd.DataFrame) -> None:
    x, y = rows["fitted"].to_numpy(), rows["standardised"].to_numpy()
    for level in (-2, 0, 2):
        axes.axhline(level, color=QUIET, linewidth=1, linestyle="-" if level == 0 else (0, (4, 3)), zorder=1)
    _points(axes, x, y)
    if len(rows) >= 20 and np.ptp(x) > 0:
        from statsmodels.nonparametric.smoothers_lowess import lowess

        curve = lowess(y, x, frac=0.67, it=3, delta=0.01 * np.ptp(x))
        axes.plot(curve[:, 0], curve[:, 1], color=DIRECT, linewidth=2, zorder=4, label="local average")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=8, borderaxespad=0.3)
    axes.set_xlabel("Fitted value x'β, on the scale of the model")
    axes.set_ylabel("Standardised residual")
    far = np.argsort(-np.abs(y), kind="stable")[:_NAMED]
    _name(axes, x, y, rows["domain"], far[np.abs(y[far]) > _FAR])


def _against_leverage(axes: Axes, rows: pd.DataFrame) -> None:
    x, y = rows["leverage"].to_numpy(), rows["standardised"].to_numpy()
    p = max(x.sum(), 1.0)  # leverages add up to the number of coefficients
    axes.axhline(0, color=QUIET, linewidth=1, zorder=1)
    _points(axes, x, y)
    top = 1.15 * np.abs(y).max() or 1.0
    end = min(1.25 * x.max(), 0.999) or 1.0
    grid = np.linspace(1e-4, end, 400)
    shown = False
    for level, style in ((0.5, (0, (4, 3))), (1.0, (0, (1, 1.5)))):
        curve = np.sqrt(level * p * (1 - grid) / grid)
        if curve.min() < top:
            shown = True
            for sign, label in ((1, f"Cook's distance {level:g}"), (-1, "_")):
                axes.plot(
                    grid, sign * curve, color=DIRECT, linewidth=1.3, linestyle=style, label=label, zorder=2
                )
    axes.set_ylim(-top, top)
    axes.set_xlim(0, end)
    axes.set_xlabel("Leverage")
    if shown:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8, borderaxespad=0.3
        )
    cook = y**2 * x / (np.maximum(1 - x, 1e-12) * p)
    pull = np.argsort(-cook, kind="stable")[:_NAMED]
    _name(axes, x, y, rows["domain"], pull[cook[pull] > 4 / len(rows)])


def _quantiles(axes: Axes, values: np.ndarray, names: list[str]) -> None:
    from scipy.special import ndtri
    from scipy.stats import beta

    order = np.argsort(values, kind="stable")
    n = len(values)
    rank = np.arange(1, n + 1)
    low, middle, high = (ndtri(beta.ppf(p, rank, n + 1 - rank)) for p in (0.025, 0.5, 0.975))
    y = values[order]
    axes.fill_between(middle, low, high, color=MODEL, alpha=0.13, linewidth=0, zorder=1)
    axes.plot(middle, middle, color=QUIET, linewidth=1, zorder=2)
    _points(axes, middle, y)
    out = np.flatnonzero((y < low) | (y > high))
    out = out[np.argsort(-np.abs(y[out] - middle[out]), kind="stable")][:_NAMED]
    _name(axes, middle, y, pd.Series(names).iloc[order].reset_index(drop=True), out)
    axes.set_xlabel("Normal quantile")
    tidy(axes)


def _name(axes: Axes, x: np.ndarray, y: np.ndarray, names: pd.Series, rows: np.ndarray) -> None:
    """Write names beside points, towards the middle of the panel, from the top down without overlap."""
    if not len(rows):
        tidy(axes)
        return
    tidy(axes)
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    step = 0.045 * (top - bottom)
    last: dict[bool, float] = {}
    for row in rows[np.argsort(-y[rows], kind="stable")]:
        right = bool(x[row] > 0.5 * (low + high))
        at = min(y[row], last.get(right, np.inf) - step)
        last[right] = at
        name = names[row] if len(names[row]) <= _LONGEST else names[row][: _LONGEST - 1].rstrip() + "…"
        axes.annotate(
            name,
            (x[row], y[row]),
            xytext=(x[row] + (-1 if right else 1) * 0.015 * (high - low), at),
            ha="right" if right else "left",
            va="center",
            fontsize=8,
            color="#333333",
            zorder=5,
        )
    axes.set_xlim(low, high)


def _finish(figure: Chart, source: str, words: str = "") -> None:
    below = " ".join(part for part in (words, f"Source: {source}." if source else "") if part)
    if below:
        figure.supxlabel(below, fontsize=8, color=QUIET, x=0.01, ha="left", wrap=True)
