"""Two-stage designs: the design effect follows from the allocation that it serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.allocation.two_stage import self_representing, two_stage_deff
from sae.planning.direct.strata import Range, StrataFrame
from sae.tables import labels, pandas_frame, require, to_numbers

__all__ = ["TwoStage"]

_CORRELATION = Range("in [-1, 1]", -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class TwoStage:
    """Primary units drawn with probability proportional to size, so many interviews in each.

    Parameters
    ----------
    units : DataFrame
        One row per primary unit: ``stratum`` and ``size`` (people).
    take : int
        Interviews in each selected primary unit.
    draws : int
        Primary units drawn from each group of similar size.

    Notes
    -----
    The frame holds ``rho_<indicator>``: the correlation within primary units that are not drawn for certain.
    Other effects (weighting, estimator) go to ``deff_<indicator>`` or ``deff``; they multiply.
    """

    units: pd.DataFrame
    take: int = 10
    draws: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", pandas_frame(self.units, "The primary units"))
        require(self.units, ["stratum", "size"], "The primary units have")
        for name in ("take", "draws"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise SaeSpecError(f"{name} = {value!r} is not a whole number of at least 1.")
        size = to_numbers(self.units, "size")
        wrong = labels(self.units["stratum"]).to_numpy()[~((size > 0) & np.isfinite(size))]
        if len(wrong):
            raise SaeInputError(
                f"{len(wrong)} primary units have no positive size: in strata {name_some(pd.unique(wrong))}.",
                areas=wrong,
                column="size",
            )

    def effects(self, strata: StrataFrame, n: np.ndarray, indicators: Sequence[str]) -> dict[str, np.ndarray]:
        """Design effects of clustering for each indicator under sizes `n`."""
        start, size = self._by_stratum(strata)
        take = np.full(len(strata), float(self.take))
        share = self_representing(n, strata.population, take, start, size, self.draws)
        rho = np.column_stack([strata.column(f"rho_{name}", _CORRELATION) for name in indicators])
        deff = two_stage_deff(share, take, rho)
        return {name: deff[:, position] for position, name in enumerate(indicators)}

    def _by_stratum(self, strata: StrataFrame) -> tuple[np.ndarray, np.ndarray]:
        names = pd.Index(strata.labels)
        own = labels(self.units["stratum"])
        place = names.get_indexer(pd.Index(own))
        if (place < 0).any():
            strange = own[place < 0].unique()
            raise SaeInputError(
                f"Primary units lie in strata that the frame lacks: {name_some(strange)}.",
                areas=strange,
                column="stratum",
            )
        counts = np.bincount(place, minlength=len(names))
        if (counts == 0).any():
            empty = list(names[counts == 0])
            raise SaeInputError(
                f"{len(empty)} strata have no primary unit: {name_some(empty)}.",
                areas=empty,
                column="stratum",
            )
        size = to_numbers(self.units, "size")
        order = np.lexsort((-size, place))
        return np.concatenate([[0], np.cumsum(counts)]), size[order]
