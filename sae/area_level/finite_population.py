"""Figures of a finite population: N_d persons in area d, of whom n_d were asked.

The model describes the rate or mean behind the persons, θ_d = x_d'β + u_d on its scale. The truth is the mean
over N_d persons who are a draw from θ_d with unit variance s²_d (that of one person asked, with the design
effect), so that its variance about x_d'β, A + s²_d / N_d, is not the same everywhere:

    y_d = θ_d + ε_d,                          Var(ε_d) = s²_d / n_d
    Ȳ_d = f_d y_d + (1 - f_d) (θ_d + w_d),    Var(w_d) = s²_d / (N_d - n_d),    f_d = n_d / N_d

with ε and w independent: different persons. The best predictor is f y + (1 - f) θ̂ and its MSE is (1 - f)²
(MSE(θ̂) + Var(w)). A design's variance ψ_d is about Ȳ_d: ψ_d = (1 - f_d) s²_d / n_d.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.rows import AreaRows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.fay_herriot.mixture import Mixture
from sae.numerics.inference.joint_error import JointError
from sae.numerics.multivariate.fit import BlockMse
from sae.numerics.multivariate.posterior import BlockPosterior
from sae.results import NormalDraws

__all__ = ["FiniteDraws", "FinitePopulation", "check_population"]


def check_population(spec: Any) -> None:
    """Refuse options with which a finite population has no meaning."""
    if not spec.population:
        return
    if spec.method == "bayes":
        raise SaeSpecError(
            f'population="{spec.population}" is for the EBLUP and has no meaning with method="bayes".',
            hint='Leave population= out, or use method="reml".',
        )
    for name in ("spatial", "temporal"):
        if getattr(spec, name) is not None:
            raise SaeSpecError(
                f'population="{spec.population}" has no meaning with {name}=: its predictor is that of '
                "independent areas.",
                hint=f"Leave out population= or {name}=.",
            )


@dataclass(frozen=True, eq=False)
class FinitePopulation:
    """Persons asked and persons there, row by row of a table.

    Attributes
    ----------
    asked, size : ndarray of float, shape (M,)
        n_d, 0 without a direct estimate, and N_d.
    direct : ndarray of float, shape (M,)
        Direct estimates on the natural scale, 0 where there is none.
    """

    asked: np.ndarray
    size: np.ndarray
    direct: np.ndarray

    @classmethod
    def of_rows(cls, rows: Any, column: str) -> FinitePopulation:
        """Read n from the table of the rows (`AreaRows` or `ComponentRows`) and N from their covariates.

        Raises
        ------
        SaeInputError
            If the column is absent, a size is missing or not positive, the number of persons asked is missing
            or exceeds the size, or every area was asked completely; rows are named.
        """
        if column not in rows.covariates:
            raise SaeInputError(
                f"The data have no column {column!r} with the sizes of the populations.",
                hint=f"Name it with population=. The columns are {name_some(rows.covariates, 15)}.",
                column=column,
            )
        size, asked = _numbers(rows.covariates[column], column), _numbers(rows.table["n"], "n")
        direct = rows.direct.ravel()
        sampled = np.isfinite(direct)
        asked = np.where(sampled, asked, 0.0)
        _refuse(~(np.isfinite(size) & (size > 0)), rows.names, f"have no positive {column}", column)
        _refuse(~np.where(sampled, asked > 0, True), rows.names, "have a direct estimate but no n", "n")
        _refuse(asked > size, rows.names, f"have n greater than {column}", column)
        if (asked == size)[sampled].all():
            raise SaeInputError(
                f"Every area with a direct estimate was asked completely (n = {column}).",
                hint="These direct estimates are the truth: there is nothing to model.",
                column=column,
            )
        return cls(asked, size, np.where(sampled, direct, 0.0))

    @property
    def fraction(self) -> np.ndarray:
        """Share f = n / N of each population, shape (M,)."""
        return self.asked / self.size

    @property
    def text(self) -> str:
        """The numbers as they enter the run's digest."""
        return f"{self.asked.tolist()} of {self.size.tolist()}"

    def superpopulation(self, rows: AreaRows) -> AreaRows:
        """Return the rows with sampling variances about θ instead of about the finite population.

        vardir / (1 - f) = s²/n, and n_eff (1 - f). Where everybody was asked the design's variance is 0,
        which says nothing of s²: such an area takes the median s² of the others.
        """
        rest = 1.0 - self.fraction
        known = rows.sampled & (rest > 0.0)
        full, asked = rows.sampled & ~known, self.asked.clip(1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            vardir, n_eff = rows.vardir / rest, rows.n_eff * rest
            vardir = np.where(full, self.unit(vardir, known, rows.fit) / asked, vardir)
            n_eff = np.where(full, asked / self.unit(1.0 / n_eff, known, rows.fit), n_eff)
        return replace(rows, vardir=vardir, n_eff=n_eff)

    def superpopulation_matrix(self, psi: np.ndarray) -> np.ndarray:
        """Return sampling covariances about θ, shape (D, R, R), of M = D R rows.

        Correlations stay, and so does the variance of a component that was asked completely.
        """
        fraction = self.fraction.reshape(psi.shape[:2])
        stretch = 1.0 / np.sqrt(np.where(fraction < 1.0, 1.0 - fraction, 1.0))
        return psi * stretch[:, :, None] * stretch[:, None, :]

    def chance_matrix(self, psi: np.ndarray) -> np.ndarray:
        """Return the covariances of w, shape (D, R, R), from those about θ.

        Components whose samples go together have populations that do: w has the correlations of the direct
        estimates, and none where one of a pair has no sample.
        """
        n, size = psi.shape[:2]
        diagonal = np.einsum("drr->dr", psi)
        sampled = np.isfinite(diagonal)
        own = self.chance(diagonal.ravel(), sampled.ravel(), np.tile(np.arange(size), n)).reshape(n, size)
        ratio = np.sqrt(np.where(sampled, own / np.where(sampled, diagonal, 1.0), 0.0))
        together = np.where(np.isfinite(psi), psi, 0.0) * ratio[:, :, None] * ratio[:, None, :]
        return np.where(np.eye(size, dtype=bool), own[:, :, None], together)

    def unit(self, D: np.ndarray, known: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return s² = n D, shape (M,); where it is not known the median of the group."""
        unit = np.where(known, self.asked * np.where(known, D, 0.0), np.nan)
        for name in np.unique(group[~known]):
            rows = group == name
            unit[rows & ~known] = np.median(unit[rows & known])
        return unit

    def chance(self, D: np.ndarray, sampled: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return Var(w) = s²/(N - n), shape (M,); 0 where n = N.

        D are the sampling variances about θ on the model's scale; a row without a sample takes the median s²
        of its group.
        """
        left = self.size - self.asked
        return np.divide(self.unit(D, sampled, group), left, out=np.zeros_like(left), where=left > 0)

    def take(self, rows: np.ndarray) -> FinitePopulation:
        """Return some of the rows."""
        return FinitePopulation(self.asked[rows], self.size[rows], self.direct[rows])

    def of(self, model: np.ndarray) -> np.ndarray:
        """Return f y + (1 - f) model, of the last axis; without a sample f = 0."""
        return self.fraction * self.direct + (1.0 - self.fraction) * model

    def figures(
        self, columns: dict[str, np.ndarray], joint: JointError, source: NormalDraws, chance: np.ndarray
    ) -> tuple[dict[str, np.ndarray], JointError, FiniteDraws]:
        """Take estimates, their joint error and their draws from θ to the finite populations.

        The ends of the intervals in `columns` hold the chance already, on the model's scale.
        """
        rest = 1.0 - self.fraction
        slope = source.transform.slope(source.centre, np.zeros_like(chance))
        mse = rest**2 * (columns["mse"] + slope**2 * chance)
        figures = {
            **columns,
            **{name: self.of(columns[name]) for name in ("estimate", "ci_low", "ci_high")},
            "mse": mse,
            "gamma": self.fraction + rest * columns["gamma"],
            "interval": columns["interval"] + ", finite population",
            "mse_method": columns["mse_method"] + ", finite population",
        }
        error = replace(source.error, scale=np.hypot(source.error.scale, np.sqrt(chance)))
        draws = FiniteDraws(**{**vars(source), "error": error}, population=self)
        return figures, joint.scaled(rest, mse), draws

    def blocks(
        self, eblup: np.ndarray, mse: np.ndarray, errors: BlockMse, psi: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, BlockMse]:
        """Take the estimates of a multivariate fit and their errors from θ to the finite populations.

        Parameters
        ----------
        eblup, mse : ndarray, shapes (D, R) and (D, R, R)
        errors : BlockMse
        psi : ndarray, shape (D, R, R)
            Sampling covariances about θ.
        """
        fraction = self.fraction.reshape(eblup.shape)
        rest = 1.0 - fraction
        both = rest[:, :, None] * rest[:, None, :]
        weights = rest[:, :, None] * errors.weights + fraction[:, :, None] * np.eye(eblup.shape[1])
        shared = rest[:, :, None] * errors.shared
        finite = replace(errors, weights=weights, shared=shared, g2=both * errors.g2)
        estimate = self.of(eblup.ravel()).reshape(eblup.shape)
        return estimate, both * (mse + self.chance_matrix(psi)), finite

    def posterior(self, model: BlockPosterior) -> FiniteBlockPosterior:
        """Take the posterior of a multivariate fit from θ to the finite populations."""
        shape = model.y.shape
        return FiniteBlockPosterior(
            **vars(model), fraction=self.fraction.reshape(shape), direct=self.direct.reshape(shape),
            chance=self.chance_matrix(model.psi),
        )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class FiniteDraws(NormalDraws):
    """Draws of the figures of finite populations: f y + (1 - f) h^-1(θ + w), θ and w normal."""

    population: FinitePopulation

    @property
    def source(self) -> str:
        """What is drawn from, in words."""
        return f"{super().source}, with the chance of the persons not asked"

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Return n draws, shape (n, n_rows)."""
        return self.population.of(super().draw(n, seed))


@dataclass(frozen=True, eq=False, kw_only=True)
class FiniteBlockPosterior(BlockPosterior):
    """Posterior of the figures of finite populations, for several components of an area.

    ``fraction`` and ``direct`` have shape (D, R), ``chance``, the covariances of w, (D, R, R).
    """

    fraction: np.ndarray
    direct: np.ndarray
    chance: np.ndarray

    def mixture(self, contrasts: np.ndarray) -> Mixture:
        """Return the posterior of linear combinations, (D, C, R), as `BlockPosterior.mixture`."""
        rest = contrasts * (1.0 - self.fraction)[:, None, :]
        model = super().mixture(rest)
        known = np.einsum("dcr,dr->dc", contrasts, self.fraction * self.direct).ravel()
        more = np.einsum("dcr,drs,dcs->dc", rest, self.chance, rest).ravel()
        return Mixture(model.weights, model.means + known, np.sqrt(model.sds**2 + more))


def _numbers(values: pd.Series, column: str) -> np.ndarray:
    try:
        return pd.to_numeric(values).astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    except (ValueError, TypeError):
        raise SaeInputError(f"{column} holds text where numbers are expected.", column=column) from None


def _refuse(bad: np.ndarray, names: np.ndarray, what: str, column: str) -> None:
    if bad.any():
        raise SaeInputError(
            f"{int(bad.sum())} of {len(bad)} rows {what}: {name_some(names[bad])}.",
            hint="Every area needs the number N of units in its population, and n, those of them that gave "
            "its direct estimate.",
            areas=names[bad],
            column=column,
        )
