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

from sae.area_level.rows import AreaRows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.mixture import Mixture
from sae.numerics.multivariate.fit import BlockMse
from sae.numerics.multivariate.importance import BlockPosterior
from sae.results import NormalDraws
from sae.tables import require, to_numbers

__all__ = ["FiniteDraws", "FinitePopulation", "check_population"]


def check_population(population: str, structure: str) -> None:
    """Refuse options with which a finite population has no meaning.

    Parameters
    ----------
    population : str
        Column of the sizes; empty where there is none.
    structure : str
        Name of the option that gives area effects a structure, if one does.
    """
    if not population:
        return
    if structure:
        raise SaeSpecError(
            f'population="{population}" has no meaning with {structure}=: its predictor is that of '
            "independent areas.",
            hint=f"Leave out population= or {structure}=.",
        )


@dataclass(frozen=True, eq=False)
class FinitePopulation:
    """Persons asked and persons there, row by row of a table.

    Attributes
    ----------
    sample_size, size : ndarray of float, shape (M,)
        n_d, 0 without a direct estimate, and N_d.
    direct : ndarray of float, shape (M,)
        Direct estimates on the natural scale, 0 where there is none.
    """

    sample_size: np.ndarray
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
        require(
            rows.covariates,
            [column],
            role="with the sizes of the populations",
            hint="Name it with population=.",
        )
        size = to_numbers(rows.covariates, column, names=rows.names)
        sample_size = np.asarray(rows.columns["n"], dtype=float)
        direct = rows.direct.ravel()
        sampled = np.isfinite(direct)
        sample_size = np.where(sampled, sample_size, 0.0)
        _refuse(~(np.isfinite(size) & (size > 0)), rows.names, f"have no positive {column}", column)
        _refuse(~np.where(sampled, sample_size > 0, True), rows.names, "have a direct estimate but no n", "n")
        _refuse(sample_size > size, rows.names, f"have n greater than {column}", column)
        if (sample_size == size)[sampled].all():
            raise SaeInputError(
                f"Every area with a direct estimate was asked completely (n = {column}).",
                hint="These direct estimates are the truth: there is nothing to model.",
                column=column,
            )
        return cls(sample_size, size, np.where(sampled, direct, 0.0))

    @property
    def fraction(self) -> np.ndarray:
        """Share f = n / N of each population, shape (M,)."""
        return self.sample_size / self.size

    @property
    def text(self) -> str:
        """The numbers as they enter the run's digest."""
        return f"{self.sample_size.tolist()} of {self.size.tolist()}"

    def superpopulation(self, rows: AreaRows) -> AreaRows:
        """Return the rows with sampling variances about θ instead of about the finite population.

        vardir / (1 - f) = s²/n, and n_eff (1 - f). Where everybody was asked the design's variance is 0,
        which says nothing of s²: such an area takes the median s² of the others.
        """
        rest = 1.0 - self.fraction
        known = rows.sampled & (rest > 0.0)
        full, sample_size = rows.sampled & ~known, self.sample_size.clip(1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            vardir, n_eff = rows.vardir / rest, rows.n_eff * rest
            vardir = np.where(full, self.unit(vardir, known, rows.fit) / sample_size, vardir)
            n_eff = np.where(full, sample_size / self.unit(1.0 / n_eff, known, rows.fit), n_eff)
        return replace(rows, vardir=vardir, n_eff=n_eff)

    def superpopulation_matrix(self, psi: np.ndarray) -> np.ndarray:
        """Return sampling covariances about θ, shape (D, R, R), of M = D R rows.

        Correlations stay, and so does the variance of a component that was asked completely.
        """
        fraction = self.fraction.reshape(psi.shape[:2])
        stretch = 1.0 / np.sqrt(np.where(fraction < 1.0, 1.0 - fraction, 1.0))
        return psi * stretch[:, :, None] * stretch[:, None, :]

    def rest_covariance(self, psi: np.ndarray) -> np.ndarray:
        """Return the covariances of w, shape (D, R, R), from those about θ.

        Components whose samples go together have populations that do: w has the correlations of the direct
        estimates, and none where one of a pair has no sample.
        """
        n, size = psi.shape[:2]
        diagonal = np.einsum("drr->dr", psi)
        sampled = np.isfinite(diagonal)
        own = self.rest_variance(diagonal.ravel(), sampled.ravel(), np.tile(np.arange(size), n)).reshape(
            n, size
        )
        ratio = np.sqrt(np.where(sampled, own / np.where(sampled, diagonal, 1.0), 0.0))
        together = np.where(np.isfinite(psi), psi, 0.0) * ratio[:, :, None] * ratio[:, None, :]
        return np.where(np.eye(size, dtype=bool), own[:, :, None], together)

    def unit(self, D: np.ndarray, known: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return s² = n D, shape (M,); where it is not known the median of the group."""
        unit = np.where(known, self.sample_size * np.where(known, D, 0.0), np.nan)
        for name in np.unique(group[~known]):
            rows = group == name
            unit[rows & ~known] = np.median(unit[rows & known])
        return unit

    def rest_variance(self, D: np.ndarray, sampled: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return Var(w) = s²/(N - n), shape (M,); 0 where n = N.

        D are the sampling variances about θ on the model's scale; a row without a sample takes the median s²
        of its group.
        """
        left = self.size - self.sample_size
        return np.divide(self.unit(D, sampled, group), left, out=np.zeros_like(left), where=left > 0)

    def take(self, rows: np.ndarray) -> FinitePopulation:
        """Return some of the rows."""
        return FinitePopulation(self.sample_size[rows], self.size[rows], self.direct[rows])

    def of(self, model: np.ndarray) -> np.ndarray:
        """Return f y + (1 - f) model, of the last axis; without a sample f = 0."""
        return self.fraction * self.direct + (1.0 - self.fraction) * model

    def figures(
        self,
        columns: dict[str, np.ndarray],
        joint: JointError,
        source: NormalDraws,
        rest_variance: np.ndarray,
    ) -> tuple[dict[str, np.ndarray], JointError, FiniteDraws]:
        """Take estimates, their joint error and their draws from θ to the finite populations.

        The ends of the intervals in `columns` hold the chance already, on the model's scale.
        """
        rest = 1.0 - self.fraction
        slope = source.transform.slope(source.centre, np.zeros_like(rest_variance))
        mse = rest**2 * (columns["mse"] + slope**2 * rest_variance)
        figures = {
            **columns,
            **{name: self.of(columns[name]) for name in ("estimate", "low", "high")},
            "mse": mse,
            "gamma": self.fraction + rest * columns["gamma"],
            "interval": columns["interval"] + ", finite population",
            "mse_method": columns["mse_method"] + ", finite population",
        }
        error = replace(source.error, scale=np.hypot(source.error.scale, np.sqrt(rest_variance)))
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
        return estimate, both * (mse + self.rest_covariance(psi)), finite

    def posterior(self, model: BlockPosterior) -> FiniteBlockPosterior:
        """Take the posterior of a multivariate fit from θ to the finite populations."""
        shape = model.areas.y.shape
        return FiniteBlockPosterior(
            **vars(model),
            fraction=self.fraction.reshape(shape),
            direct=self.direct.reshape(shape),
            rest_covariance=self.rest_covariance(model.areas.psi),
        )


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

    ``fraction`` and ``direct`` have shape (D, R), ``rest_covariance``, that of w, (D, R, R).
    """

    fraction: np.ndarray
    direct: np.ndarray
    rest_covariance: np.ndarray

    def mixture(self, contrasts: np.ndarray) -> Mixture:
        """Return the posterior of linear combinations, (D, C, R), as `BlockPosterior.mixture`."""
        rest = contrasts * (1.0 - self.fraction)[:, None, :]
        model = super().mixture(rest)
        known = np.einsum("dcr,dr->dc", contrasts, self.fraction * self.direct).ravel()
        more = np.einsum("dcr,drs,dcs->dc", rest, self.rest_covariance, rest).ravel()
        return Mixture(model.weights, model.means + known, np.sqrt(model.sds**2 + more))

    def joint(self) -> JointMixture:
        """Return the joint posterior of all rows, as `BlockPosterior.joint`."""
        return super().joint().moved((1.0 - self.fraction).ravel(), (self.fraction * self.direct).ravel())

    def _root(self, inside: np.ndarray) -> np.ndarray:
        return super()._root(inside + self.rest_covariance)


def _refuse(bad: np.ndarray, names: np.ndarray, what: str, column: str) -> None:
    if bad.any():
        raise SaeInputError(
            f"{int(bad.sum())} of {len(bad)} rows {what}: {name_some(names[bad])}.",
            hint="Every area needs the number N of units in its population, and n, those of them that gave "
            "its direct estimate.",
            areas=names[bad],
            column=column,
        )
