"""The design of a survey as the variance needs it: levels of units, unit × domain cells, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sae.design_based.domains import Domains
from sae.errors import SaeInputError, name_some
from sae.numerics.design.residuals import (
    Matrix,
    Regression,
    domain_coefficients,
    regression,
    shared_variance,
    weighted_totals,
)
from sae.numerics.design.units import Cells, Level, design_levels, domain_cells
from sae.numerics.design.variance import cell_variance, covariance_of_units
from sae.survey import Calibration, Survey

__all__ = ["Design", "UnitScores", "read_design"]


@dataclass(frozen=True, eq=False)
class UnitScores:
    """Unit totals of w z_d for every domain: cell totals, less a part that every unit has in every domain.

    The total of unit c for domain d is ``totals`` of its cell - ``shared[c] @ coefficients[:, d]``.

    Attributes
    ----------
    totals, counts : tuple of ndarray, shape (n_cells,), one per level
        Σ w z and the records in the universe of each cell.
    shared : tuple of matrices of shape (n_units, r), one per level, or None
        Σ w of the calibration variables and of the linearised thresholds.
    coefficients : ndarray of float, shape (r, n_domains), or None
    """

    totals: tuple[np.ndarray, ...]
    counts: tuple[np.ndarray, ...]
    shared: tuple[Matrix, ...] | None = None
    coefficients: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Design:
    """Weights, levels of units and unit × domain cells, shared by all indicators of one call.

    Attributes
    ----------
    weights : ndarray of float, shape (n,)
    domain : ndarray of int32, shape (n,)
        Domain of each record, -1 for none.
    n_domains : int
    levels : tuple of Level
        Stages of selection that contribute to the variance.
    cells : tuple of Cells
        Unit × domain cells of each level.
    average : bool
        Lonely strata add the average of the others (else nothing: taken for certain).
    calibration : Regression or None
    auxiliary : tuple of matrices of shape (n_units, q)
        Σ w x of the calibration variables by unit, for each level; empty without calibration.
    """

    weights: np.ndarray
    domain: np.ndarray
    n_domains: int
    levels: tuple[Level, ...]
    cells: tuple[Cells, ...]
    average: bool
    calibration: Regression | None
    auxiliary: tuple[Matrix, ...]

    def degrees_of_freedom(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count units, and units minus strata, where each domain has records; `counts` by first cell."""
        nothing = np.zeros(counts.size)
        _, units, strata = cell_variance(
            self.levels[0], self.cells[0], nothing, counts, self.n_domains, False
        )
        return units, units - strata

    def counts(self, records: np.ndarray) -> np.ndarray:
        """Count the records marked, by domain: shape (n_domains,)."""
        return np.bincount(self.domain[records & (self.domain >= 0)], minlength=self.n_domains)

    def sizes(self, inside: np.ndarray) -> np.ndarray:
        """Return n, Σw and Σw² of the records inside by domain, shape (n_domains, 3)."""
        use = inside & (self.domain >= 0)
        domain, w = self.domain[use], self.weights[use]
        return np.column_stack([np.bincount(domain, part, self.n_domains) for part in (w**0, w, w**2)])

    def scores(
        self, local: np.ndarray, inside: np.ndarray, common: np.ndarray, loadings: np.ndarray
    ) -> UnitScores:
        """Sum to units z_d = local 1(d) + common @ loadings_d, or its calibration residual.

        Parameters
        ----------
        local : ndarray of float, shape (n,)
            Linearised variable of each record in its own domain, 0 outside the universe.
        inside : ndarray of bool, shape (n,)
        common : ndarray of float, shape (n, r)
            Linearised variables that all domains share; r may be 0.
        loadings : ndarray of float, shape (n_domains, r)
        """
        totals, counts = [], []
        for cells in self.cells:
            held = cells.record >= 0
            cell = cells.record[held]
            totals.append(np.bincount(cell, (self.weights * local)[held], cells.domain.size))
            counts.append(np.bincount(cell, inside[held], cells.domain.size))
        plain = UnitScores(tuple(totals), tuple(counts))
        return self.with_shared(plain, local, common, loadings)

    def with_shared(
        self, scores: UnitScores, local: np.ndarray, common: np.ndarray, loadings: np.ndarray
    ) -> UnitScores:
        """Add to plain unit scores the shared linearised variables and the calibration residual."""
        shared: list[tuple[Matrix, ...]] = []
        coefficients: list[np.ndarray] = []
        if common.shape[1]:
            shared.append(
                tuple(
                    weighted_totals(level.unit, level.n_units, self.weights, common) for level in self.levels
                )
            )
            coefficients.append(-loadings.T)
        if self.calibration is not None:
            B = domain_coefficients(self.calibration, self.domain, local, self.n_domains)
            if common.shape[1]:
                everyone = np.zeros(local.size, dtype=np.int32)
                per_common = [
                    domain_coefficients(self.calibration, everyone, column, 1) for column in common.T
                ]
                B = B + np.hstack(per_common) @ loadings.T
            shared.append(self.auxiliary)
            coefficients.append(B)
        if not shared:
            return scores
        joined = tuple(parts[0] if len(parts) == 1 else _beside(parts) for parts in zip(*shared, strict=True))
        return UnitScores(scores.totals, scores.counts, joined, np.vstack(coefficients))

    def variance(self, scores: UnitScores) -> np.ndarray:
        """Variance of the total of every domain, shape (n_domains,), summed over the levels."""
        total = np.zeros(self.n_domains)
        for number, (level, cells) in enumerate(zip(self.levels, self.cells, strict=True)):
            own = scores.totals[number]
            if scores.shared is None:
                counts = scores.counts[number]
                total += cell_variance(level, cells, own, counts, self.n_domains, self.average)[0]
            else:
                assert scores.coefficients is not None
                shared = scores.shared[number]
                total += shared_variance(level, cells, own, shared, scores.coefficients, self.average)
        return total

    def covariance(self, several: Sequence[UnitScores], variance: np.ndarray) -> np.ndarray:
        """Covariances between the domains of all indicators, shape (k, k), scaled to the given variances.

        Parameters
        ----------
        several : sequence of UnitScores
            One per indicator.
        variance : ndarray of float, shape (k,)
            Diagonal, as the table prints it: it differs where lonely strata are averaged, and in rounding.
        """
        total = np.zeros((variance.size, variance.size))
        for number, level in enumerate(self.levels):
            columns = [self._matrix(number, scores) for scores in several]
            total += covariance_of_units(level, sparse.hstack(columns))
        own = np.diag(total).copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            stretch = np.where(own > 0, np.sqrt(variance / own), 0.0)
        total *= np.outer(stretch, stretch)
        np.fill_diagonal(total, variance)
        return total

    def root(self, scores: UnitScores) -> sparse.csr_array:
        """Return R with the covariances of the domains' totals R R', shape (n_domains, n_units).

        Lonely strata add nothing, whatever the policy.
        """
        roots = []
        for number, level in enumerate(self.levels):
            totals, size = self._matrix(number, scores), np.diff(level.starts)
            stratum = np.repeat(np.arange(size.size), size)
            member = sparse.csr_array((np.ones(stratum.size), (stratum, np.arange(stratum.size))))
            means = sparse.diags_array(1.0 / size) @ (member @ totals)
            centred = totals - member.T @ means
            roots.append((sparse.diags_array(np.sqrt(level.factor[stratum])) @ centred).T)
        return sparse.csr_array(sparse.hstack(roots))

    def _matrix(self, number: int, scores: UnitScores) -> sparse.csr_matrix:
        """Return the unit totals of one level as a matrix of n_units × n_domains."""
        level, cells = self.levels[number], self.cells[number]
        own = sparse.csr_matrix(
            (scores.totals[number], cells.domain, cells.starts), (level.n_units, self.n_domains)
        )
        if scores.shared is None:
            return own
        return sparse.csr_matrix(own.toarray() - scores.shared[number] @ scores.coefficients)


def _beside(parts: Sequence[Matrix]) -> Matrix:
    return sparse.hstack(parts, format="csr") if any(map(sparse.issparse, parts)) else np.hstack(parts)


def read_design(survey: Survey, domains: Domains, *, lonely: bool = True) -> Design:
    """Prepare the design of `survey` for the given domains.

    Parameters
    ----------
    survey : Survey
    domains : Domains
    lonely : bool
        Refuse lonely strata under the policy "fail"; replicate variances do not need it.

    Raises
    ------
    SaeInputError
        If the policy is "fail" and a stratum has one unit that stands for more.
    """
    levels = design_levels(survey.stages)
    if lonely and survey.lonely_psu == "fail":
        _refuse_lonely(survey, levels)
    cells = tuple(domain_cells(level, domains.codes, len(domains)) for level in levels)
    weights = np.ascontiguousarray(survey.weights, dtype=float)
    calibration = None
    auxiliary: tuple[Matrix, ...] = ()
    if survey.calibration is not None:
        calibration = regression(_calibration_variables(survey.calibration), survey.calibration.base_weights)
        auxiliary = tuple(
            weighted_totals(level.unit, level.n_units, weights, calibration.X) for level in levels
        )
    return Design(
        weights,
        domains.codes,
        len(domains),
        levels,
        cells,
        survey.lonely_psu == "average",
        calibration,
        auxiliary,
    )


def _calibration_variables(calibration: Calibration) -> Matrix:
    if calibration.cells is None:
        return np.ascontiguousarray(calibration.X, dtype=float)
    cells = calibration.cells  # post-strata: a matrix of 0 and 1 would not fit large files
    return sparse.csr_matrix(
        (np.ones(cells.size), cells, np.arange(cells.size + 1)), (cells.size, len(calibration.names))
    )


def _refuse_lonely(survey: Survey, levels: tuple[Level, ...]) -> None:
    for number, (level, stage) in enumerate(zip(levels, survey.stages, strict=False), start=1):
        records = level.lonely_records
        if records.size == 0:
            continue
        labels = [stage.strata_labels[stage.strata[record]] for record in records]
        raise SaeInputError(
            f"{len(labels)} of {level.factor.size} strata of stage {number} hold a single unit, which shows "
            f"no spread: {name_some(labels)}.",
            hint='Read the survey with lonely_psu="collapse" (joins neighbours), "average" or "certainty".',
            areas=labels,
        )
