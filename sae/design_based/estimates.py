"""What every kind of estimate hands to the table: numbers by domain, and what each row lacks."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy import sparse

from sae.design_based.design import Design, UnitScores

__all__ = ["DomainEstimates", "PlainEstimates", "assess_domains"]

# A standard error this far below the estimate is rounding of an estimate that does not vary in the sample.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class PlainEstimates:
    """One indicator in every domain; arrays of shape (n_domains,) unless said.

    Attributes
    ----------
    estimate, variance : ndarray of float
        Missing where there is none.
    moments : ndarray of float, shape (n_domains, 3)
        n, Σw and Σw² of the records in the universe.
    counts : ndarray of float, shape (n_cells,)
        Records in the universe of each unit × domain cell of the first level.
    srs_variance : ndarray of float
        Variance under simple random sampling with replacement of the same n.
    share : bool
        The estimates are shares.
    unit : str
    centred : bool
        The variance is made of deviations from the domain's own estimate: one record, or one cluster, shows
        none. (A total varies with the number of records, a threshold is the whole population's.)
    scores : UnitScores or None
        Unit totals of the linearised variable: what covariances of linearised estimates are made of.
    factors : dense or sparse matrix F of shape (n_domains, m), or None
        The same of other estimates: covariances are F F'.
    notes : tuple of str
        For the log.
    replicates : int or None
        Number of replicates, which bounds the degrees of freedom.
    empty_replicates : ndarray of int or None
        Replicates that leave the domain without a record.
    """

    estimate: np.ndarray
    variance: np.ndarray
    moments: np.ndarray
    counts: np.ndarray
    srs_variance: np.ndarray
    share: bool
    unit: str
    centred: bool = True
    scores: UnitScores | None = None
    factors: np.ndarray | sparse.csr_matrix | None = None
    notes: tuple[str, ...] = ()
    replicates: int | None = None
    empty_replicates: np.ndarray | None = None

    @property
    def n(self) -> np.ndarray:
        """Records in the universe."""
        return self.moments[:, 0].astype(np.int64)

    @property
    def weight_total(self) -> np.ndarray:
        """Σw over the records in the universe."""
        return self.moments[:, 1]


@dataclass(frozen=True, eq=False, kw_only=True)
class DomainEstimates(PlainEstimates):
    """Estimates with what the table prints beside them; arrays of shape (n_domains,).

    Attributes
    ----------
    df : ndarray of float
        Sampling units minus strata where the domain has records, at most replicates - 1.
    deff, n_eff : ndarray of float
        Design effect against simple random sampling with replacement; effective sample size.
    status : ndarray of str
        "ok", or what the row lacks.
    """

    df: np.ndarray
    deff: np.ndarray
    n_eff: np.ndarray
    status: np.ndarray


def assess_domains(estimates: PlainEstimates, design: Design, unanswered: np.ndarray) -> DomainEstimates:
    """Fill in degrees of freedom, design effect, effective size and status, and count item non-response.

    A variance of 0 that only says that one record or one cluster shows no spread becomes missing.

    Parameters
    ----------
    estimates : PlainEstimates
    design : Design
    unanswered : ndarray of int64, shape (n_domains,)
        Records of each domain left out because a defining variable is missing.
    """
    n = estimates.moments[:, 0]
    clusters, df = design.degrees_of_freedom(estimates.counts)
    free = np.where(n > 0, df, np.nan)
    if estimates.replicates is not None:
        free = np.minimum(free, estimates.replicates - 1)
    with np.errstate(invalid="ignore"):
        flat = np.sqrt(estimates.variance) <= ROUNDING * np.abs(estimates.estimate)
        if estimates.share:  # all or nobody: what is left would be the error of the threshold alone
            flat |= (estimates.estimate == 0) | (estimates.estimate == 1)
    single = (n == 1) | (clusters == 1)
    variance = np.where(flat, np.where(single, np.nan, 0.0), estimates.variance)
    if estimates.centred:  # what is left would be the error of a threshold, or of a calibration, alone
        variance = np.where(single, np.nan, variance)
    status = np.select(
        [
            (n == 0) & (unanswered > 0),
            n == 0,
            ~np.isfinite(estimates.estimate),
            n == 1,
            clusters == 1,
            ~np.isfinite(variance),
            flat,
            df == 0,
        ],
        [
            "no answer",
            "no sample",
            "denominator zero",
            "one record",
            "one cluster",
            "no variance",
            "zero variance",
            "no degrees of freedom",
        ],
        default="ok",
    ).astype(object)
    if estimates.empty_replicates is not None:
        for d in np.flatnonzero((estimates.empty_replicates > 0) & (status == "ok")):
            status[d] = f"{estimates.empty_replicates[d]} of {estimates.replicates} replicates empty"
    deff, n_eff, notes = _effects(estimates, variance)
    missing = int(unanswered.sum())
    if missing:
        known = int(n.sum())
        notes.append(f"{missing:,} of {missing + known:,} records have no answer and count in neither part")
    own = {field.name: getattr(estimates, field.name) for field in fields(estimates)}
    own |= {"variance": variance, "notes": (*estimates.notes, *notes)}
    return DomainEstimates(**own, df=free, deff=deff, n_eff=n_eff, status=status)


def _effects(estimates: PlainEstimates, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Design effects, effective sizes, and a note where an effective size had to be borrowed."""
    n, weight, squares = estimates.moments.T
    with np.errstate(divide="ignore", invalid="ignore"):
        usable = (variance > 0) & (estimates.srs_variance > 0)
        deff = np.where(usable, variance / estimates.srs_variance, np.nan)
        n_eff = np.where(deff > 0, n / deff, np.nan)
        if estimates.share:
            p = estimates.estimate
            n_eff = np.where((p > 0) & (p < 1) & (variance > 0), p * (1 - p) / variance, np.nan)
        kish = weight**2 / squares
    lacking = (n > 0) & np.isfinite(estimates.estimate) & ~np.isfinite(n_eff)
    if not estimates.share or not lacking.any():
        return deff, n_eff, []
    pooled = (
        np.sum((n * variance)[usable]) / np.sum((n * estimates.srs_variance)[usable])
        if usable.any()
        else np.nan
    )
    borrowed = n / pooled if np.isfinite(pooled) else kish
    source = (
        f"the pooled design effect {pooled:.3g}"
        if np.isfinite(pooled)
        else "the spread of the weights (Kish)"
    )
    n_eff = np.where(lacking, np.minimum(borrowed, n), n_eff)
    return (
        deff,
        n_eff,
        [f"{int(lacking.sum())} domains without a variance take their effective size from {source}"],
    )
