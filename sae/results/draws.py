"""Joint draws of all domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import Transform
from sae.numerics.random.streams import normals, seed_of, stream_keys
from sae.samplers import Posterior
from sae.tables import labels

__all__ = ["DrawSource", "Draws", "NormalDraws", "PosteriorDraws"]


class DrawSource(Protocol):
    """What joint draws of all domains come from."""

    @property
    def source(self) -> str:
        """What is drawn from, in words."""

    @property
    def joint(self) -> str:
        """What the joint error of the domains is, in words."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Natural range of the figures."""

    @property
    def posterior(self) -> Posterior | None:
        """The posterior, where it is one that is drawn from."""

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Return n draws on the reported scale, shape (n, n_rows)."""


@dataclass(frozen=True, eq=False)
class Draws:
    """Joint draws of the true values of all domains.

    Attributes
    ----------
    values : ndarray of float, shape (n_draws, n_rows)
        Columns in the order of the rows of the estimate table; reported scale.
    rows : DataFrame
        The columns of the estimate table that tell the rows apart.
    source : str
        What is drawn from.
    """

    values: np.ndarray
    rows: pd.DataFrame
    source: str

    def to_frame(self) -> pd.DataFrame:
        """Return one row per draw and one column per domain, labelled by the columns of `rows`."""
        keys = self.rows.apply(labels, keep_missing=True).fillna("")
        columns = pd.Index(keys.iloc[:, 0]) if len(keys.columns) == 1 else pd.MultiIndex.from_frame(keys)
        return pd.DataFrame(self.values, columns=columns)

    def __repr__(self) -> str:
        return f"{len(self.values)} joint draws of {len(self.rows)} domains from {self.source}"


@dataclass(frozen=True, eq=False)
class NormalDraws:
    """Source of draws N(EBLUP, joint MSE matrix), taken back from the model's scale.

    Attributes
    ----------
    centre : ndarray of float, shape (n_rows,)
        Predictions on the model's scale.
    error : JointError
        Their joint error, on that scale.
    transform : Transform
    labels : tuple of str
        Names of the areas' random streams.
    shared_labels : tuple of str
        Names of the coefficients' streams.
    predictor : str
        What the draws are centred on, in words.
    """

    centre: np.ndarray
    error: JointError
    transform: Transform
    labels: tuple[str, ...]
    shared_labels: tuple[str, ...]
    predictor: str = "EBLUP"

    @property
    def posterior(self) -> None:
        """There is none."""
        return None

    @property
    def source(self) -> str:
        """What is drawn from, in words."""
        back = (
            ""
            if self.transform.name == "identity"
            else f", back-transformed from the {self.transform.name} scale"
        )
        return f"N({self.predictor}, joint MSE matrix){back}"

    @property
    def joint(self) -> str:
        """What the joint error of the domains is, in words."""
        return "joint MSE"

    @property
    def bounds(self) -> tuple[float, float]:
        """Natural range of the figures."""
        return self.transform.range

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Return n draws, shape (n, n_rows).

        Every area and coefficient has its own stream, so that another area changes none of their normals.
        """
        if n < 1:
            raise SaeSpecError(f"n = {n}: at least one draw is needed.")
        number = seed_of(seed)
        z = normals(stream_keys(number, "area error", self.labels), 0, n)
        c = normals(stream_keys(number, "coefficient error", self.shared_labels), 0, n)
        return self.transform.inverse(self.centre + self.error.draw(z, c))


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    """Source of joint draws from a posterior.

    Attributes
    ----------
    posterior : Posterior
        Of the rows of the table, on the reported scale.
    bounds : (float, float)
        Natural range of the figures; (0, 1) for shares.
    """

    posterior: Posterior
    bounds: tuple[float, float] = (-np.inf, np.inf)

    @property
    def source(self) -> str:
        """What is drawn from, in words."""
        return self.posterior.source

    @property
    def joint(self) -> str:
        """What the joint error of the domains is, in words."""
        return "posterior covariance"

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Return n joint draws, shape (n, n_rows)."""
        if n < 1:
            raise SaeSpecError(f"n = {n}: at least one draw is needed.")
        return self.posterior.values(n, seed_of(seed))
