"""Two-stage designs: the design effect follows from the allocation that it serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.allocation.two_stage import self_representing, two_stage_deff
from sae.planning.direct.strata import Strata

__all__ = ["TwoStage"]


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
        missing = [name for name in ("stratum", "size") if name not in self.units]
        if missing:
            raise SaeInputError(f"The primary units have no column {name_some(missing)}.", column=missing[0])
        if self.take < 1 or self.draws < 1:
            raise SaeSpecError(f"take = {self.take} and draws = {self.draws} must be at least 1.")
        if not (self.units["size"] > 0).all():
            raise SaeInputError("Primary units have no positive size.", column="size")

    def effects(self, strata: Strata, n: np.ndarray, indicators: Sequence[str]) -> dict[str, np.ndarray]:
        """Design effects of clustering for each indicator under sizes `n`."""
        start, size = self._by_stratum(strata)
        take = np.full(len(strata), float(self.take))
        share = self_representing(n, strata.population, take, start, size, self.draws)
        rho = np.column_stack([strata.column(f"rho_{name}", least=-1.0, most=1.0) for name in indicators])
        deff = two_stage_deff(share, take, rho)
        return {name: deff[:, position] for position, name in enumerate(indicators)}

    def _by_stratum(self, strata: Strata) -> tuple[np.ndarray, np.ndarray]:
        labels = pd.Index(strata.frame["stratum"])
        place = labels.get_indexer(pd.Index(self.units["stratum"]))
        if (place < 0).any():
            names = self.units["stratum"][place < 0].unique()
            raise SaeInputError(
                f"Primary units lie in strata that the frame lacks: {name_some(names)}.", areas=names,
                column="stratum",
            )  # fmt: skip
        counts = np.bincount(place, minlength=len(labels))
        if (counts == 0).any():
            names = [str(label) for label in labels[counts == 0]]
            raise SaeInputError(
                f"{len(names)} strata have no primary unit: {name_some(names)}.",
                areas=names,
                column="stratum",
            )
        size = self.units["size"].to_numpy(float)
        order = np.lexsort((-size, place))
        return np.concatenate([[0], np.cumsum(counts)]), size[order]
