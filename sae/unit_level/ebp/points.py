"""A result without errors: figures alone."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import scipy

from sae.errors import SaeInputError
from sae.results.draws import SumEnds

__all__ = ["PointsOnly"]


class PointsOnly:
    """Source of no draws: nothing is known of the errors of figures whose MSE was not asked for."""

    source = joint = "nothing"
    bounds = (-np.inf, np.inf)
    posterior = None

    def _refuse(self) -> NoReturn:
        raise SaeInputError(
            'This fit has no errors to draw from: it was made with mse="none".',
            hint='Fit with mse="bootstrap" and a seed.',
        )

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Refuse."""
        self._refuse()

    def ends(
        self,
        weights: scipy.sparse.csr_array,
        predictions: np.ndarray,
        mse: np.ndarray,
        level: float,
        freedom: float = np.inf,
    ) -> SumEnds:
        """Return sums without intervals."""
        missing = np.full(len(mse), np.nan)
        text = np.full(len(mse), "none: no MSE", dtype=object)
        return SumEnds(missing, missing, text, text)
