"""The records of a survey with their design, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sae.literals import LonelyPolicy
from sae.survey.calibration import Calibration
from sae.survey.design import Stage
from sae.survey.release import Release
from sae.survey.replicates import Replicates
from sae.tables import label_text

__all__ = ["Records"]


@dataclass(frozen=True, eq=False, repr=False)
class Records:
    """What a `Survey` holds; its attributes are described there."""

    frame: pd.DataFrame
    weights: np.ndarray
    stages: tuple[Stage, ...]
    replicates: Replicates | None = None
    calibration: Calibration | None = None
    mask: np.ndarray | None = None
    conditions: tuple[str, ...] = ()
    lonely_psu: LonelyPolicy = "fail"
    time: str | None = None
    layout: str = ""
    release: Release = field(default_factory=Release)
    panel: str = ""
    missing: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def _held(self) -> dict[str, tuple[str, ...]]:
        return {}

    def held(self, column: str) -> tuple[str, ...]:
        """Return the labels that the records of the subset hold in a column, as text, each once.

        Every indicator and every crossing asks for them; they are looked up once.

        Examples
        --------
        >>> frame = pd.DataFrame({"w": [1.0, 2.0, 1.0], "year": [2022, 2019, 2022]})
        >>> sae.Survey.from_frame(frame, weights="w", time="year").held("year")
        ('2022', '2019')
        """
        if column not in self._held:
            self._held[column] = _labels_held(self.frame[column], self.mask)
        return self._held[column]

    @property
    def is_subset(self) -> bool:
        """Whether records of the population are left out (a weight of 0 is outside it)."""
        return self.mask is not None and bool(np.any(~self.mask & (self.weights != 0)))


def _labels_held(series: pd.Series, mask: np.ndarray | None) -> tuple[str, ...]:
    if not isinstance(series.dtype, pd.CategoricalDtype):
        values = series if mask is None else series[mask]
        return tuple(label_text(level) for level in values.dropna().unique())
    codes = series.cat.codes.to_numpy()
    held = pd.unique(codes if mask is None else codes[mask])
    levels = np.asarray(series.cat.categories, dtype=object)[held[held >= 0]]
    return tuple(map(label_text, levels.tolist()))
