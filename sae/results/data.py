"""What was fitted, on the scale of the model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from sae.tables.texts import Texts

if TYPE_CHECKING:
    from sae.numerics.nested_error.mse import AreaMeans

__all__ = ["FittedData"]


@dataclass(frozen=True, slots=True, eq=False)
class FittedData:
    """Observations, their variances and designs, as a model took them.

    An area-level model has one observation per row of the estimate table, a unit-level model one per unit.
    The arrays cannot be written to.

    Attributes
    ----------
    outcome : ndarray of float, shape (n,)
        On the scale of the model; nan for a row without a sample.
    vardir : ndarray of float, shape (n,)
        Known sampling variances on the same scale, or σe² k² of a unit with a factor k; nan where there are
        none.
    X : ndarray of float, shape (n, p)
    columns : tuple of str
        Names of the columns of `X`.
    sampled : ndarray of bool, shape (M,)
        Rows of the estimate table with an observation.
    names : Texts or ndarray of str, shape (M,)
        Names of these rows; `labels` has them as an array.
    row : ndarray of int, shape (n,)
        Row of the estimate table of each observation.
    fit : ndarray of int, shape (M,)
        Which fit each row belongs to.
    scale : str
        Name of the transformation of the outcome: "identity", "arcsin", "log" or "logit".
    means : AreaMeans or None
        What a linear unit-level model predicts: population means of the columns of `X`, and sizes.
    """

    outcome: np.ndarray
    vardir: np.ndarray
    X: np.ndarray
    columns: tuple[str, ...]
    sampled: np.ndarray
    names: Texts | np.ndarray
    row: np.ndarray
    fit: np.ndarray
    scale: str = "identity"
    means: AreaMeans | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                view = value.view()
                view.flags.writeable = False
                object.__setattr__(self, field.name, view)

    @property
    def of_units(self) -> bool:
        """Whether the observations are units, and not the rows of the estimate table."""
        return len(self.row) != len(self.sampled) or bool((self.row != np.arange(len(self.row))).any())

    @property
    def labels(self) -> np.ndarray:
        """Names of the rows of the estimate table, shape (M,)."""
        return np.asarray(self.names, dtype=object)

    @classmethod
    def of_areas(
        cls,
        outcome: np.ndarray,
        vardir: np.ndarray,
        X: np.ndarray,
        columns: tuple[str, ...],
        sampled: np.ndarray,
        names: Texts | np.ndarray,
        *,
        fit: np.ndarray | None = None,
        scale: str = "identity",
    ) -> FittedData:
        """Return the data of an area-level model: one observation per row, missing without a sample.

        Examples
        --------
        >>> from sae.results.data import FittedData
        >>> y, one = np.array([1.0, 5.0]), np.ones((2, 1))
        >>> FittedData.of_areas(y, y, one, ("Intercept",), y < 2.0, np.array(["A", "B"])).outcome.tolist()
        [1.0, nan]
        """
        return cls(
            np.where(sampled, outcome, np.nan),
            np.where(sampled, vardir, np.nan),
            X,
            columns,
            sampled,
            names,
            np.arange(len(outcome)),
            np.zeros(len(outcome), dtype=np.int64) if fit is None else fit,
            scale,
        )
