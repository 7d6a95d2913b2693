"""From strata and targets to the arrays of the convex programme: one column per target and domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.planning.direct.strata import COUNT, StrataFrame
from sae.planning.precision import Measure, Target
from sae.tables import label_text, labels, require

__all__ = ["Constraints", "constraints_of"]


@dataclass(frozen=True, eq=False)
class Constraints:
    """J constraints Σ_h a_hj / n_h - fixed_j <= allowed_j on the variances of J estimates.

    Attributes
    ----------
    a : sparse matrix, shape (H, J)
    fixed, allowed : ndarray, shape (J,)
        What the finite population correction takes off; largest variance, infinite where nothing is asked.
    labels : DataFrame
        indicator, by, domain, group, rule, population, mean, unit_variance, least_n.
    members : sparse matrix, shape (H, J)
        Expected interviews with the group of constraint j per interview in stratum h (1, or P_h).
    of_size : ndarray of bool, shape (J,)
        Constraints that stand for a least number of interviews, 1 / allowed_j, and not for a variance.
    measures : tuple of frozenset of Measure, length J
        What the rule behind each constraint limits.
    """

    a: sparse.csr_matrix
    fixed: np.ndarray
    allowed: np.ndarray
    labels: pd.DataFrame
    members: sparse.csr_matrix
    of_size: np.ndarray
    measures: tuple[frozenset[Measure], ...]

    def __len__(self) -> int:
        return len(self.fixed)

    def variance(self, n: np.ndarray) -> np.ndarray:
        """Variance of each estimate under sizes `n`, shape (J,)."""
        return np.maximum(self.a.T @ (1.0 / n) - self.fixed, 0.0)

    def scaled(self, loosen: float = 1.0) -> sparse.csr_matrix:
        """Return a scaled to right sides 1, standard errors `loosen` times those allowed; 0 if none is."""
        right = self.fixed + loosen**2 * self.allowed
        return self.a.multiply(np.where(np.isfinite(right), 1.0 / right, 0.0)).tocsr()

    @property
    def names(self) -> list[str]:
        """Constraints in words: "employment_rate in AT13 of foreign (CV <= 10 %)"."""
        parts = (self.labels[name].tolist() for name in ("indicator", "domain", "group", "rule"))
        return [
            f"{indicator} in {domain}{f' of {group}' if group else ''} ({rule})"
            for indicator, domain, group, rule in zip(*parts, strict=True)
        ]


def constraints_of(strata: StrataFrame, targets: Target | Sequence[Target]) -> Constraints:
    """Build the constraints of `targets` on `strata`.

    The variance of a stratum's part is that of the linearised mean, deff · [P S² + P (1 - P)(ȳ_h - ȳ)²]
    with P the density of the group (for everybody: deff · S²), times (N_h / M)² (1/n_h - 1/N_h).

    Raises
    ------
    SaeInputError
        If a column is missing, a group is absent from a domain, or a mean is 0 under a CV.
    """
    targets = [targets] if isinstance(targets, Target) else list(targets)
    wrong = [target for target in targets if not isinstance(target, Target)]
    if wrong:
        raise SaeSpecError(
            f"{wrong[0]!r} is no target.", hint='Use Target("rate", CV(0.1), by="region"), or a list of them.'
        )
    parts = [_of_target(strata, target) for target in targets]
    none = sparse.csr_matrix((len(strata), 0))
    if not parts:
        return Constraints(
            none, np.empty(0), np.empty(0), pd.DataFrame(columns=_LABELS), none, np.zeros(0, bool), ()
        )
    return Constraints(
        sparse.hstack([part.a for part in parts], format="csr"),
        np.concatenate([part.fixed for part in parts]),
        np.concatenate([part.allowed for part in parts]),
        pd.concat([part.labels for part in parts], ignore_index=True),
        sparse.hstack([part.members for part in parts], format="csr"),
        np.concatenate([part.of_size for part in parts]),
        tuple(measures for part in parts for measures in part.measures),
    )


_LABELS = [
    "indicator",
    "by",
    "domain",
    "group",
    "rule",
    "population",
    "mean",
    "unit_variance",
    "least_n",
]


def _of_target(strata: StrataFrame, target: Target) -> Constraints:
    here, code, domains = _domains(strata, target)
    moments = strata.moments(target.indicator, target.group)
    size, mean, P = moments.size[here], moments.mean[here], moments.density[here]
    N, count = strata.population[here], len(domains)
    total = np.bincount(code, size, count)
    _refuse(total <= 0, domains, f"nobody of the group {target.group!r} lives in", target)
    overall = np.bincount(code, size * mean, count) / total
    away = (mean - overall[code]) ** 2
    unit_variance = np.bincount(code, size * (moments.sd[here] ** 2 + away), count) / total
    unit = P * moments.sd[here] ** 2 + P * (1.0 - P) * away
    a = moments.deff[here] * unit * (N / total[code]) ** 2
    place = np.flatnonzero(here)
    shape = (len(strata), count)
    rule = target.rule
    base = strata.column(rule.size, COUNT)[here] if rule.size else size
    allowed = rule.bound(overall, unit_variance, np.bincount(code, base, count))
    _refuse(allowed <= 0, domains, "the mean is 0, so no CV can be asked for, in", target)
    labels = pd.DataFrame(
        {
            "indicator": target.indicator,
            "by": " × ".join(target.by),
            "domain": domains,
            "group": target.group,
            "rule": rule.text,
            "population": total,
            "mean": overall,
            "unit_variance": unit_variance,
            "least_n": rule.least_n,
        }
    )
    return Constraints(
        sparse.csr_matrix((a, (place, code)), shape=shape),
        np.bincount(code, a / N, count),
        allowed,
        labels,
        sparse.csr_matrix((P, (place, code)), shape=shape),
        np.zeros(count, bool),
        (rule.measures,) * count,
    )


def _domains(strata: StrataFrame, target: Target) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return which strata the target is about, the domain of each of those, and the domains' names."""
    frame = strata.frame
    here = np.ones(len(frame), bool)
    for name in (*target.by, *(target.only or {})):
        require(frame, [name], "The frame of strata has", f"(of the target on {target.indicator})")
    for name, values in (target.only or {}).items():
        wanted = [values] if isinstance(values, str) else list(map(label_text, values))
        column = labels(frame[name], keep_missing=True)
        absent = [value for value in wanted if value not in set(column)]
        if absent:
            raise SaeInputError(
                f"{name} never takes the values {name_some(absent)}.", areas=absent, column=name
            )
        here &= column.isin(wanted).to_numpy(dtype=bool)
    if not here.any():
        raise SaeInputError(f"No stratum is left for the target on {target.indicator}.")
    if not target.by:
        return here, np.zeros(int(here.sum()), int), ["all"]
    texts = [
        labels(frame[name], keep_missing=True).fillna("").to_numpy(dtype=object)[here] for name in target.by
    ]
    lacking = np.logical_or.reduce([text == "" for text in texts])
    if lacking.any():
        nameless = [strata.labels[row] for row in np.flatnonzero(here)[lacking]]
        raise SaeInputError(
            f"{len(nameless)} strata have no value of {' or '.join(target.by)}: {name_some(nameless)}.",
            hint="Give every stratum its domain, or confine the target with only=.",
            areas=nameless,
            column=target.by[0],
        )
    joined = texts[0]
    for text in texts[1:]:
        joined = joined + " / " + text
    code, names = pd.factorize(joined)
    return here, code, names.tolist()


def _refuse(bad: np.ndarray, domains: list[str], what: str, target: Target) -> None:
    if bad.any():
        names = [domain for domain, wrong in zip(domains, bad, strict=True) if wrong]
        raise SaeInputError(
            f"Target on {target.indicator}: {what} {len(names)} domains: {name_some(names)}.",
            hint="Confine the target with only=, or correct the frame.",
            areas=names,
        )
