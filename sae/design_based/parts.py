"""What every kind of estimate hands to the table: numbers by domain, and the judgement of each row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sae.design_based.design import Design
    from sae.indicators import IndicatorArrays

__all__ = ["Judged", "Part", "judge"]

# A standard error this far below the estimate is rounding of an estimate that does not vary in the sample.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
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
    spread : UnitScores, or a dense or sparse matrix F of shape (n_domains, m)
        What covariances are made of: unit totals, or factors with covariance F F'.
    share : bool
        The estimates are shares.
    unit : str
    notes : tuple of str
        For the log.
    trouble : dict of int to str
        Domains whose own trouble is known already.
    replicates : int or None
        Number of replicates, which bounds the degrees of freedom.
    """

    estimate: np.ndarray
    variance: np.ndarray
    moments: np.ndarray
    counts: np.ndarray
    srs_variance: np.ndarray
    spread: Any
    share: bool
    unit: str
    notes: tuple[str, ...] = ()
    trouble: dict[int, str] | None = None
    replicates: int | None = None

    @property
    def n(self) -> np.ndarray:
        """Records in the universe."""
        return self.moments[:, 0].astype(np.int64)

    @property
    def weight_total(self) -> np.ndarray:
        """Σw over the records in the universe."""
        return self.moments[:, 1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged(Part):
    """A part with what the table prints beside it; arrays of shape (n_domains,).

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


def judge(part: Part, design: Design, arrays: IndicatorArrays) -> Judged:
    """Fill in degrees of freedom, design effect, effective size and status, and count item non-response.

    A variance of 0 that only says that one record or one cluster shows no spread becomes missing.
    """
    n = part.moments[:, 0]
    clusters, df = design.degrees_of_freedom(part.counts)
    free = np.where(n > 0, df, np.nan)
    if part.replicates is not None:
        free = np.minimum(free, part.replicates - 1)
    with np.errstate(invalid="ignore"):
        flat = np.sqrt(part.variance) <= ROUNDING * np.abs(part.estimate)
        if part.share:  # all or nobody: what is left would be the error of the threshold alone
            flat |= (part.estimate == 0) | (part.estimate == 1)
    single = (n == 1) | (clusters == 1)
    variance = np.where(flat, np.where(single, np.nan, 0.0), part.variance)
    unanswered = np.bincount(
        design.domain[arrays.item_missing & (design.domain >= 0)], minlength=design.n_domains
    )
    status = np.select(
        [
            (n == 0) & (unanswered > 0), n == 0, ~np.isfinite(part.estimate), n == 1, clusters == 1,
            ~np.isfinite(variance), flat, df == 0,
        ],
        [
            "no answer", "no sample", "denominator zero", "one record", "one cluster",
            "no variance", "zero variance", "no degrees of freedom",
        ],
        default="ok",
    ).astype(object)  # fmt: skip
    for d, words in (part.trouble or {}).items():
        status[d] = words if status[d] == "ok" else status[d]
    deff, n_eff, notes = _effects(part, variance)
    asked = int(np.sum(arrays.item_missing & (design.domain >= 0)))
    if asked:
        known = int(n.sum())
        notes.append(f"{asked:,} of {asked + known:,} records have no answer and count in neither part")
    own = {field.name: getattr(part, field.name) for field in fields(part)}
    own |= {"variance": variance, "notes": (*part.notes, *notes)}
    return Judged(**own, df=free, deff=deff, n_eff=n_eff, status=status)


def _effects(part: Part, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Design effects, effective sizes, and a note where an effective size had to be borrowed."""
    n, weight, squares = part.moments.T
    with np.errstate(divide="ignore", invalid="ignore"):
        usable = (variance > 0) & (part.srs_variance > 0)
        deff = np.where(usable, variance / part.srs_variance, np.nan)
        n_eff = n / deff
        if part.share:
            p = part.estimate
            n_eff = np.where((p > 0) & (p < 1) & (variance > 0), p * (1 - p) / variance, np.nan)
        kish = weight**2 / squares
    lacking = (n > 0) & np.isfinite(part.estimate) & ~np.isfinite(n_eff)
    if not part.share or not lacking.any():
        return deff, n_eff, []
    pooled = (
        np.sum((n * variance)[usable]) / np.sum((n * part.srs_variance)[usable]) if usable.any() else np.nan
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
