"""The figures of an area that an M-quantile model gives, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from sae.errors import SaeSpecError, name_some
from sae.numerics.m_quantile.distribution import FGT, MEAN, QUANTILE, Target

__all__ = ["direct_figures", "is_share", "target_of", "targets_of"]

_POWERS = {"head_count": 0, "gap": 1, "severity": 2}
_QUANTILE = re.compile(r"quantile_([1-9][0-9]?)")


def targets_of(names: Sequence[str], threshold: float | None) -> list[Target]:
    """Return what names of indicators ask for.

    Raises
    ------
    SaeSpecError
        If a name is unknown or stands twice, or a poverty line is missing, not positive, or of no use.

    Examples
    --------
    >>> [target.value for target in targets_of(("head_count", "median", "quantile_10"), 900.0)]
    [900.0, 0.5, 0.1]
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice or not names:
        raise SaeSpecError(
            f"indicators name {name_some(twice)} twice." if twice else "indicators names nothing.",
            hint='Write indicators=("mean", "head_count").',
        )
    poverty = [name for name in names if name in _POWERS]
    if poverty and threshold is None:
        raise SaeSpecError(
            f"{name_some(poverty)} needs a poverty line; threshold is missing.",
            hint="Write threshold=..., in the unit of the outcome.",
        )
    if threshold is not None and not poverty:
        raise SaeSpecError(
            f"threshold = {threshold} has no use: indicators names no head_count, gap or severity.",
            hint='Write indicators=("head_count",).',
        )
    if threshold is not None and not threshold > 0.0:
        raise SaeSpecError(f"threshold = {threshold}: a poverty line is positive.")
    return [target_of(name, threshold or 0.0) for name in names]


def target_of(name: str, threshold: float) -> Target:
    """Return what one name asks for."""
    if name == "mean":
        return Target(MEAN)
    if name in _POWERS:
        return Target(FGT, threshold, _POWERS[name])
    match = _QUANTILE.fullmatch(name)
    if name == "median" or match:
        return Target(QUANTILE, int(match[1]) / 100.0 if match else 0.5)
    raise SaeSpecError(
        f"indicators = {name!r} does not exist.",
        hint="It takes mean, head_count, gap, severity, median, and quantile_1 to quantile_99.",
    )


def is_share(target: Target) -> bool:
    """Tell whether a figure is a share of the units."""
    return target.code == FGT and target.power == 0


def direct_figures(y: np.ndarray, target: Target) -> tuple[float, float]:
    """Return the figure of the units of an area alone, and its standard error where it is a mean.

    Examples
    --------
    >>> direct_figures(np.array([1.0, 3.0]), Target(MEAN))
    (2.0, 1.0)
    """
    n = len(y)
    if n == 0:
        return np.nan, np.nan
    if target.code == QUANTILE:
        return float(np.quantile(y, target.value, method="inverted_cdf")), np.nan
    value = y
    if target.code == FGT:
        value = np.where(y < target.value, ((target.value - y) / target.value) ** target.power, 0.0)
    return float(value.mean()), float(value.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
