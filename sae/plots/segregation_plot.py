"""Areas by an index of segregation, with intervals and what chance alone would make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, name_some
from sae.plots.figures import DIRECT, MODEL, QUIET, as_written, note, tidy
from sae.tables import labels

if TYPE_CHECKING:
    from sae.plots.chart import Chart

__all__ = ["segregation"]

_NAMED = 60  # rows beyond which names can no longer be read
_LONGEST = 46  # characters of a name


@as_written
@answered
def segregation(
    frame: pd.DataFrame,
    indicator: str | None = None,
    *,
    level: float = 0.95,
    title: str = "",
    source: str = "",
) -> Chart:
    """Draw the areas from the most to the least segregated, with what chance would make of an even spread.

    Parameters
    ----------
    frame : DataFrame
        Of `sae.compare.segregation`.
    indicator : str, optional
        Which index, where there are several.
    level : float
    title, source : str

    Raises
    ------
    SaeInputError
        If there are several indices and none is named, or no area has one.

    Examples
    --------
    >>> census = pd.DataFrame({"city": list("XXYY"), "district": list("abcd"), "foreign": [90, 10, 50, 60],
    ...                        "native": [100, 200, 150, 160]})
    >>> made = sae.compare.segregation(census, area="city", domain="district", counts=["foreign", "native"],
    ...                                against="native", seed=1)
    >>> [text.get_text() for text in made.plot().axes[0].get_yticklabels()]
    ['Y', 'X']
    """
    from sae.plots.chart import Chart

    names = labels(frame["indicator"]).unique().tolist()
    if (indicator is None and len(names) > 1) or (indicator is not None and indicator not in names):
        raise SaeInputError(
            f"The table holds {name_some(names)}{'' if indicator is None else f', not {indicator!r}'}.",
            hint=f'Draw one: made.plot("{names[0]}").',
            column="indicator",
        )
    indicator = indicator or names[0]
    frame = frame[frame["indicator"].eq(indicator) & np.isfinite(frame["estimate"])]
    if frame.empty:
        raise SaeInputError(f"No area has the index {indicator}.")
    frame = frame.sort_values(["estimate", "domain"], kind="stable").reset_index(drop=True)
    place, named = np.arange(len(frame)), len(frame) <= _NAMED
    figure = Chart(figsize=(9, 2.1 + (0.2 * max(len(frame), 4) if named else 9.0)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    columns = {
        name: frame[name].to_numpy(dtype=float)
        for name in ("estimate", "ci_low", "ci_high", "plain", "by_chance")
    }
    low, high = columns["ci_low"], columns["ci_high"]
    axes.hlines(place, low, high, color=MODEL, linewidth=1.4, alpha=0.6)
    axes.scatter(columns["estimate"], place, s=22, color=MODEL, zorder=3, label="index, with interval")
    if np.isfinite(columns["by_chance"]).any():
        axes.scatter(
            columns["plain"],
            place,
            s=16,
            facecolor="white",
            edgecolor=QUIET,
            linewidth=1.0,
            label="as it came",
            zorder=2,
        )
        axes.scatter(
            columns["by_chance"], place, s=40, marker="|", color=DIRECT, label="by chance, if even", zorder=2
        )
    axes.set_ylim(-0.8, len(frame) - 0.2)
    axes.set_yticks(place if named else [], _names(frame) if named else [], fontsize=8)
    groups = [labels(frame[name]).unique() for name in ("group", "against")]
    axes.set_xlabel(f"{indicator}, 0 to 1")
    tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    of = f" of {name_some(groups[0], 2)} against {name_some(groups[1], 2)}"
    words = f"{indicator[:1].upper()}{indicator[1:]}{of}, intervals of {level:.0%}"
    figure.suptitle(title or words, fontsize=13, x=0.01, ha="left", wrap=True)
    note(figure, frame, source, "" if named else f"{len(frame)} areas, too many to be named.")
    return figure


def _names(frame: pd.DataFrame) -> list[str]:
    made = labels(frame["domain"])
    for name in ("time", "group"):
        if name in frame and frame[name].nunique() > 1:
            made = made + ", " + labels(frame[name])
    half = _LONGEST // 2
    return [
        name if len(name) <= _LONGEST else f"{name[:half].rstrip()}…{name[1 - half :].lstrip()}"
        for name in made
    ]
