"""The problem of an indirect estimate: a survey matched with known counts, its design, its options."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.design_based.counts import KnownCounts
from sae.design_based.design import Design, read_design
from sae.design_based.estimates import DomainEstimates, assess_domains
from sae.design_based.linear import linear_estimates, poisson_estimates
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators import IndicatorArrays, arrays
from sae.literals import BiasMse, IndirectVariance
from sae.specs import one_of
from sae.survey import Replicates, Survey
from sae.tables import label_text, pandas_frame, require
from sae.tables.covariates import frame_of

__all__ = ["IndirectProblem", "bias_groups_of", "check_mse", "check_variance", "universe_of"]


@dataclass(frozen=True, eq=False)
class IndirectProblem:
    """A survey with its known counts, and how variances are taken.

    Attributes
    ----------
    survey : Survey
    known : KnownCounts
    base : ndarray of bool, shape (n,)
        Records in the universe that the counts are about.
    method : {"linearised", "replicate", "poisson"}
    design : Design
    """

    survey: Survey
    known: KnownCounts
    base: np.ndarray
    method: IndirectVariance
    design: Design

    @classmethod
    def of(
        cls, survey: Survey, known: KnownCounts, base: np.ndarray, method: IndirectVariance
    ) -> IndirectProblem:
        """Prepare the design for the domains of the counts."""
        return cls(
            survey, known, base, method, read_design(survey, known.domains, lonely=method == "linearised")
        )

    @property
    def sizes(self) -> np.ndarray:
        """Population of each domain, shape (n_domains,)."""
        return self.known.N.sum(axis=1)

    @property
    def replicates(self) -> Replicates | None:
        """Replicate weights where the variance uses them."""
        return self.survey.replicates if self.method == "replicate" else None

    def direct(self, data: IndicatorArrays) -> DomainEstimates:
        """Direct estimates of the domains; under "poisson" over the known sizes."""
        if self.method == "poisson":
            estimates = poisson_estimates(self.design, data, self.sizes)
        else:
            estimates = linear_estimates(self.design, data, self.replicates)
        return assess_domains(estimates, self.design, self.design.counts(data.item_missing))


def check_variance(survey: Survey, variance: IndirectVariance | None) -> IndirectVariance:
    """Return the variance method: the one requested, else replicate weights where there are any."""
    method = variance or ("linearised" if survey.replicates is None else "replicate")
    if method == "bootstrap":
        raise SaeSpecError(
            "variance = 'bootstrap' does not exist for indirect estimates.",
            hint="Make replicate weights first (survey.with_replicates).",
        )
    one_of("variance", method, IndirectVariance)
    if method == "replicate" and survey.replicates is None:
        raise SaeSpecError("variance='replicate' needs replicate weights, and the survey has none.")
    return method


def check_mse(mse: BiasMse, groups: str | None, level: float, allowed: Any = BiasMse) -> None:
    """Refuse an error measure that does not exist, and options that do not go together."""
    one_of("mse", mse, allowed)
    if groups is not None and mse != "average":
        raise SaeSpecError(f"bias_groups= belongs to mse='average', but mse={mse!r}.", hint="Leave it out.")
    if not 0.0 < level < 1.0:
        raise SaeSpecError(f"The confidence level lies between 0 and 1, but level={level}.")


def bias_groups_of(counts: pd.DataFrame, column: str | None, known: KnownCounts) -> np.ndarray:
    """Group of each domain over which squared biases are averaged, shape (n_domains,)."""
    n_domains = len(known.domains)
    if column is None:
        return np.zeros(n_domains, dtype=np.int64)
    counts = pandas_frame(frame_of(counts), "The counts")
    require(counts, [column], "The counts have", "for bias_groups=", error=SaeSpecError)
    labels = zip(*(counts[name].tolist() for name in known.domains.by), strict=True)
    pairs = set(
        zip((tuple(map(label_text, label)) for label in labels), counts[column].tolist(), strict=True)
    )
    group = dict(pairs)
    if len(pairs) > len(group):
        keys = [key for key, _ in pairs]
        split = sorted(" / ".join(key) for key in group if keys.count(key) > 1)
        raise SaeInputError(
            f"{len(split)} domains lie in more than one {column}: {name_some(split)}.",
            hint="bias_groups= names a column that is constant within a domain.",
            areas=split,
            column=column,
        )
    return pd.factorize(pd.Series([group[key] for key in known.rows], dtype=object), use_na_sentinel=False)[0]


def universe_of(
    survey: Survey, data: IndicatorArrays, accept: Collection[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Find the records that the counts are about, and the denominator on them.

    The counts are about the universe of the indicator. A denominator that holds for a part of it only (the
    active among the persons of 20 to 64) is itself a mean over the universe.

    Returns
    -------
    base : ndarray of bool, shape (n,)
    x : ndarray of float, shape (n,)
    """
    indicator = data.indicator
    if indicator.distributional or indicator.kind == "total":
        raise SaeSpecError(
            f"An indirect estimate is of a mean, share or ratio, but {indicator.name!r} is of kind "
            f"{indicator.kind!r}.",
            hint="For a total ask for the mean and multiply by the known population.",
        )
    if indicator.denominator is None:
        return data.inside, data.inside.astype(float)
    bottom = replace(indicator, numerator=indicator.denominator, denominator=None, kind="mean")
    whole = arrays(bottom, survey, accept)
    return whole.inside & ~data.item_missing, np.asarray(data.denominator, dtype=float)
