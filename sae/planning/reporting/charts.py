"""The charts of a plan, as SVG: what a budget buys, today against the recommendation, attained precision."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.plots.figures import DIRECT, MODEL, QUIET, as_written, tidy
from sae.tables import to_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frontier_chart", "precision_chart", "sizes_chart"]

_WIDE = (9.2, 4.2)
_BARS = 30  # domains that a chart of bars can name


@as_written
def frontier_chart(frontier: pd.DataFrame, planned: float, cost_unit: str, many: str) -> bytes:
    """Domains that meet their target over the budget, direct only and with the model."""
    figure, axes = _figure(_WIDE)
    for name, colour, label in (("model", MODEL, "with the model"), ("direct", DIRECT, "direct only")):
        x, y = frontier["budget"], frontier[f"publishable_{name}"]
        axes.step(x, y, where="post", color=colour, linewidth=2.2, label=label)
    axes.axvline(planned, color=QUIET, linewidth=1, linestyle="--")
    axes.annotate(
        "this plan", (planned, 0), xytext=(5, 6), textcoords="offset points", color=QUIET, fontsize=9
    )
    axes.set_xlabel(f"Budget ({cost_unit})")
    axes.set_ylabel(f"{many} that meet the target")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(bottom=0)
    _legend_above(axes)
    tidy(axes)
    return _svg(figure)


@as_written
def sizes_chart(domains: pd.DataFrame, many: str) -> bytes:
    """Interviews today, with the model and direct only, in the domains that gain most."""
    part = domains.assign(_extra=domains["n_model"] - domains["n_now"])
    part = (
        part.sort_values(["_extra", "domain"], ascending=[False, True], kind="stable").head(_BARS).iloc[::-1]
    )
    figure, axes = _figure((9.2, 1.2 + 0.23 * len(part)))
    row = np.arange(len(part))
    axes.hlines(row, part["n_now"], part["n_direct"], color="#D5D5D5", linewidth=1.5, zorder=1)
    for name, colour, marker, label in (
        ("n_now", QUIET, "o", "today"),
        ("n_model", MODEL, "s", "recommended, with the model"),
        ("n_direct", DIRECT, "D", "direct only"),
    ):
        axes.scatter(part[name], row, color=colour, marker=marker, s=26, linewidth=0, label=label, zorder=3)
    axes.set_yticks(row, part["domain"], fontsize=8)
    few = f": the {len(part)} {many} that gain most" if len(part) < len(domains) else ""
    axes.set_xlabel(f"Interviews of the group{few}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlim(left=0)
    axes.set_ylim(-0.8, len(part) - 0.2)
    _legend_above(axes)
    tidy(axes)
    return _svg(figure)


@as_written
def precision_chart(domains: pd.DataFrame, many: str) -> bytes:
    """Coefficient of variation of every domain: today and with the plan, in the order of today's."""
    ordered = domains.sort_values(["model_cv_now", "domain"], kind="stable")
    figure, axes = _figure(_WIDE)
    place = np.arange(len(ordered))
    series = (
        ("direct_cv_now", DIRECT, "D", "today, direct"),
        ("model_cv_now", QUIET, "o", "today, with the model"),
        ("model_cv", MODEL, "s", "planned, with the model"),
    )
    for name, colour, marker, label in series:
        values = to_numbers(ordered, name)
        axes.scatter(place, values, color=colour, marker=marker, s=16, linewidth=0, label=label, alpha=0.9)
    axes.step(place, ordered["required_cv"], where="mid", color="#222222", linewidth=1.1, label="target")
    shown = ordered[["model_cv_now", "model_cv", "required_cv"]].to_numpy(dtype=float)
    top = 1.6 * np.nanmax(shown[np.isfinite(shown)])
    hidden = int((ordered["direct_cv_now"].astype("Float64").fillna(0) > top).sum())
    axes.set_ylim(0, top)
    axes.set_xticks([])
    beyond = f"; {hidden} direct CVs of today lie above" if hidden else ""
    axes.set_xlabel(f"{len(ordered):,} {many} in the order of today's CV{beyond}")
    axes.set_ylabel("CV")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    _legend_above(axes)
    tidy(axes, grid="y")
    return _svg(figure)


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def _legend_above(axes: Axes) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        frameon=False,
        fontsize=9,
        borderaxespad=0.3,
        handletextpad=0.3,
        columnspacing=1.4,
    )


def _svg(figure: Figure) -> bytes:
    """Return the figure as SVG, the same bytes every time: no clock, no version, fixed names of its parts."""
    import matplotlib

    sink = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "sae", "svg.fonttype": "path"}):
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return sink.getvalue()
