"""The map of a report: borders as paths, and classes that an area has only where it is likely enough."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from sae.errors import SaeInputError, name_some
from sae.publish.report_catalogue import Catalogue
from sae.publish.report_rows import ReportRows, Slice

__all__ = ["SURE", "UNSURE", "borders", "class_labels", "class_probabilities", "classes"]

SURE = 0.8  # least probability of the class that an area is given
UNSURE = -1
_MOST = 5  # classes
_SIZE = 1000  # units across a map: coarser than any screen


def classes(one: Slice, level: float) -> tuple[list[float], list[int | None]]:
    """Return the cuts between classes and the class of each row: `UNSURE`, or None without a figure.

    The number of classes is the largest up to five, by round cuts, for which half of the shown areas have one
    with probability `SURE` or more; where there is none, the cut is the reference.

    Parameters
    ----------
    one : Slice
    level : float
        Of the ranges: a published figure and its range are all that this rests on.
    """
    shown = one.shown
    out: list[int | None] = [None] * len(one.frame)
    if shown.empty:
        return [], out
    estimate, low, high = (shown[name].to_numpy(dtype=float) for name in ("estimate", "ci_low", "ci_high"))
    for cuts in [*_round_cuts(float(estimate.min()), float(estimate.max())), [one.reference]]:
        probability = class_probabilities(estimate, low, high, cuts, level)
        sure = probability.max(axis=0) >= SURE
        if 2 * sure.sum() >= len(estimate):
            break
    own = np.where(sure, probability.argmax(axis=0), UNSURE)
    for place, code in zip(np.flatnonzero(one.frame["shown"]), own.tolist(), strict=True):
        out[place] = code
    return [float(f"{cut:.6g}") for cut in cuts], out


def class_probabilities(
    estimate: np.ndarray, low: np.ndarray, high: np.ndarray, cuts: Sequence[float], level: float
) -> np.ndarray:
    """Return the probability of each class, shape (len(cuts) + 1, m); 0 where there is no range.

    The true figure has half of its probability on either side of the estimate, normal there with the spread
    that the range has on that side.

    Examples
    --------
    >>> from sae.publish.report_map import class_probabilities
    >>> one = class_probabilities(np.array([0.6]), np.array([0.5]), np.array([0.7]), [0.5, 0.6], 0.95)
    >>> one.ravel().round(3).tolist()
    [0.025, 0.475, 0.5]
    """
    wide = ndtri(0.5 + 0.5 * level)
    below = [np.zeros(len(estimate))]
    for cut in cuts:
        spread = np.where(cut < estimate, estimate - low, high - estimate) / wide
        with np.errstate(divide="ignore", invalid="ignore"):
            below.append(np.where(spread > 0, ndtr((cut - estimate) / spread), cut > estimate))
    made = np.diff(np.stack([*below, np.ones(len(estimate))]), axis=0)
    return np.where(np.isfinite(high - low), made, 0.0)


def class_labels(cuts: Sequence[float], unit: str, words: Catalogue) -> list[str]:
    """Return what the classes are called: "below 50 %", "50 % to 60 %", "60 % or more"."""
    texts = [words.figure(cut, unit) for cut in cuts]
    if not texts:
        return []
    between = [words("class_between", low=low, high=high) for low, high in pairwise(texts)]
    return [words("class_below", high=texts[0]), *between, words("class_above", low=texts[-1])]


def _round_cuts(low: float, high: float) -> list[list[float]]:
    """Return cuts at multiples of round steps, the most classes first."""
    out: list[list[float]] = []
    if not high > low:
        return out
    power = int(np.floor(np.log10((high - low) / _MOST)))
    for step in (part * 10.0**exponent for exponent in (power, power + 1) for part in (1, 2, 5)):
        cuts = step * np.arange(np.ceil(low / step + 1e-9), np.ceil(high / step - 1e-9))
        if 0 < len(cuts) < _MOST:
            out.append(cuts.tolist())
    return out


def borders(geometry: Any, key: str, rows: ReportRows) -> dict[str, Any]:
    """Return the borders of the areas as paths of SVG by label, in whole units of the picture."""
    from sae.plots.geometry import read_rings, to_paths

    labels = {
        code: name
        for one in rows.slices
        for code, name in zip(one.frame["code"], one.frame["area"], strict=True)
    }
    rings = read_rings(geometry, key)
    wanted = [code for code in labels if code in rings]
    if not wanted:
        raise SaeInputError(
            f"The geometry has none of the {len(labels)} areas: {name_some(labels)}.",
            hint=f"Its codes by {key!r} are {name_some(rings)}; name another property by key=.",
        )
    paths, frame, outside = to_paths(rings, wanted)
    (left, bottom), (right, top) = frame
    scale = _SIZE / max(right - left, 1e-12)
    drawn = {}
    for code in wanted:
        if code in outside:
            continue
        across, up = np.asarray(paths[code].vertices, dtype=float).T
        vertices = np.column_stack([(across - left) * scale, (top - up) * scale]).round()
        drawn[labels[code]] = _path(vertices.astype(int), np.asarray(paths[code].codes))
    lost = [labels[code] for code in labels if code not in wanted or code in outside]
    return {"width": _SIZE, "height": int(np.ceil((top - bottom) * scale)), "paths": drawn, "lost": lost}


def _path(points: np.ndarray, codes: np.ndarray) -> str:
    """Return the rings as a path; points that fall together on the picture are one."""
    parts: list[str] = []
    last: tuple[int, int] | None = None
    for (x, y), code in zip(points.tolist(), codes.tolist(), strict=True):
        if code == 1:
            parts.append(f"M{x} {y}")
        elif code == 79:
            parts.append("Z")
        elif (x, y) != last:
            parts.append(f"L{x} {y}")
        last = (x, y)
    return "".join(parts)
