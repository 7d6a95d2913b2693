"""The interviews that a cell needs, direct and with its model, from the figures of the finished table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sae.batch.production.sections import PlanTable
from sae.errors import SaeSpecError
from sae.numerics.allocation.with_model import direct_size, model_size
from sae.planning import CV, Published
from sae.planning.precision import PrecisionRule
from sae.quality import Policy

__all__ = ["Need", "Rules", "direct_need", "model_need"]

_STEPS = 200  # sampling variances between the target and today's at which the error is looked at
_BISECTIONS = 50
_SPAN = 1e6  # an unsampled cell: the largest sampling variance looked at, over the larger of target and A


@dataclass(frozen=True)
class Demand:
    """What rows of one kind must fulfil.

    Attributes
    ----------
    rules : tuple of PrecisionRule
    least_n : int
        Fewest interviews of a row that has any.
    """

    rules: tuple[PrecisionRule, ...]
    least_n: int = 0

    @property
    def text(self) -> str:
        """The rules in words."""
        return "; ".join(rule.text for rule in self.rules) or "nothing"

    def bound(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the largest error variance of each row; infinite where nothing is asked."""
        mean, size = rows["estimate"].to_numpy(dtype=float), np.full(len(rows), np.nan)
        person = _person(rows)
        bounds = [rule.bound(mean, person, size) for rule in self.rules]
        return np.asarray(np.min([np.full(len(rows), np.inf), *bounds], axis=0))


@dataclass(frozen=True)
class Rules:
    """What direct estimates and those of models must fulfil, by the policy and the plan."""

    direct: Demand
    model: Demand

    @classmethod
    def of(cls, policy: str | Mapping[str, Any] | Policy | None, section: PlanTable) -> Rules:
        """Return the demands of a policy and of ``[plan]``.

        Raises
        ------
        SaeSpecError
            If neither asks anything that interviews can mend.
        """
        stated = [] if section.cv is None else [CV(float(section.cv), section.smaller_side)]
        given = {rows: _published(policy, section, rows) for rows in ("direct", "model")}
        if not stated and not any(given.values()):
            raise SaeSpecError(
                "[plan] has no target: the policy has no limit that interviews can reach.",
                hint="Give [plan] cv = 0.165.",
            )
        secret = _secret(given)
        demands = {
            rows: Demand((*(given[rows]), *stated), max([secret, *(one.least_n for one in given[rows])]))
            for rows in given
        }
        return cls(demands["direct"], demands["model"])


def _published(policy: Any, section: PlanTable, rows: Literal["direct", "model"]) -> list[Published]:
    if policy is None:
        return []
    try:
        return [Published(policy, section.grade, rows)]
    except SaeSpecError:  # no limit on such rows
        return []


def _secret(given: Mapping[str, list[Published]]) -> int:
    """Return the fewest records that are not confidential: two, or what the policy keeps secret below."""
    rules = [rule for one in given.values() for published in one for rule in published.loaded.rules]
    limits = [rule.suppress_below for rule in rules if rule.measure == "n" and "conf" in rule.purpose]
    return int(np.ceil(max([2.0, *(limit for limit in limits if limit is not None)])))


@dataclass(frozen=True, eq=False)
class Need:
    """Interviews that rows need in all, shape (M,); missing where it cannot be told; and the target."""

    n: np.ndarray
    bound: np.ndarray


def _person(rows: pd.DataFrame) -> np.ndarray:
    """Return the variance of a person: p (1 - p) of a share at the estimate, of other figures missing."""
    estimate = rows["estimate"].to_numpy(dtype=float)
    return np.where(rows["share"].to_numpy(dtype=bool), estimate * (1.0 - estimate), np.nan)


def _unit(rows: pd.DataFrame) -> np.ndarray:
    """Return the sampling variance of one interview.

    That of the direct estimate times n; of a share that a model with another scale estimates, p (1 - p) at
    the estimate times the design effect n / n_eff. A cell without a sample takes the median of its fit.
    """
    n, effective = rows["n"].to_numpy(dtype=float), rows["n_eff"].to_numpy(dtype=float)
    vardir, person = rows["vardir"].to_numpy(dtype=float), _person(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.where((vardir > 0) & (n > 0), vardir * n, np.nan)
        by_person = np.where((effective > 0) & (n > 0), person * n / effective, np.nan)
        scaled = _of_person(rows) & (by_person > 0)
        unit = np.where(scaled, by_person, unit)
        relative = np.where(person > 0, unit / person, unit)  # a design effect, of a share
    typical = pd.Series(relative).groupby(rows["fit"].to_numpy()).transform("median").to_numpy()
    filled = typical * np.where(np.isnan(person), 1.0, person)
    return np.where(np.isfinite(unit), unit, np.where(filled > 0, filled, np.nan))


def _of_person(rows: pd.DataFrame) -> np.ndarray:
    """Whether a row is a share of a model with a scale of its own, on which ψ does not depend on p."""
    rung = rows["rung"]
    own = rung.eq("fay_herriot/arcsin") | ~rung.str.startswith(("fay_herriot", "direct", "synthetic"))
    return (own & rung.ne("") & rows["share"]).to_numpy(dtype=bool)


def direct_need(rows: pd.DataFrame, rules: Rules) -> Need:
    """Return the interviews at which the direct estimate of each row passes: V / M.

    Examples
    --------
    >>> from sae.batch.production.sections import PlanTable
    >>> row = pd.DataFrame({"estimate": [0.25], "share": True, "n": 90.0, "n_eff": 50.0, "vardir": 0.0032,
    ...                     "rung": "direct", "fit": 0})
    >>> rules = Rules.of(None, PlanTable(cv=0.1))          # 0.288 / 0.025²
    >>> direct_need(row, rules).n.round(1).tolist()
    [460.8]
    """
    bound, unit = rules.direct.bound(rows), _unit(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        n = np.where(bound > 0, direct_size(bound, unit), np.nan)
    n = np.where(np.isinf(bound), 0.0, n)
    known = np.isfinite(rows["estimate"].to_numpy(dtype=float)) & np.isfinite(n)
    return Need(np.where(known, np.maximum(n, rules.direct.least_n), np.nan), bound)


def model_need(rows: pd.DataFrame, rules: Rules, quantile: float) -> Need:
    """Return the interviews at which the model's estimate passes, not below today's; missing without one.

    Parameters
    ----------
    quantile : float
        Of the normal distribution, at which the model variance is taken; 0 is its estimate.
    """
    bound, unit = rules.model.bound(rows), _unit(rows)
    mse = rows["mse"].to_numpy(dtype=float)
    usable = (bound > 0) & (unit > 0) & (mse > 0) & ~rows["rung"].isin(("", "direct", "synthetic")).to_numpy()
    asked = usable & np.isfinite(bound)
    psi = _psi(rows, unit)
    n = np.where(usable, 0.0, np.nan)
    shrunk = asked & rows["gamma"].notna().to_numpy()
    n[shrunk] = _shrunk(rows, unit, psi, bound, shrunk, quantile)
    rest = asked & ~shrunk
    with np.errstate(divide="ignore"):
        added = np.maximum(1.0 / mse[rest] - 1.0 / psi[rest], 0.0)  # precision beside that of the interviews
        n[rest] = model_size(bound[rest], unit[rest], 1.0 / added)
    return Need(np.where(n > 0, np.maximum(n, rules.model.least_n), _at_rest(rows, n, rules)), bound)


def _at_rest(rows: pd.DataFrame, n: np.ndarray, rules: Rules) -> np.ndarray:
    """Return the need of rows whose model passes without a sample: what few records of today lack."""
    few = (n == 0.0) & rows["confidential"].to_numpy(dtype=bool)
    return np.where(few, rules.model.least_n, n)


def _psi(rows: pd.DataFrame, unit: np.ndarray) -> np.ndarray:
    """Return today's sampling variance; infinite in a cell that the fit did not count as sampled."""
    n, sampled = rows["n"].to_numpy(dtype=float), rows["in_sample"].fillna(False).to_numpy(dtype=bool)
    return np.where(sampled & (n > 0), unit / np.where(n > 0, n, 1.0), np.inf)


def _shrunk(
    rows: pd.DataFrame,
    unit: np.ndarray,
    psi: np.ndarray,
    bound: np.ndarray,
    asked: np.ndarray,
    quantile: float,
) -> np.ndarray:
    """Return V / ψ of the asked rows, fit by fit, on the scale on which A is one number.

    Where the model's scale is the arcsine, that is the share's own divided by p (1 - p).
    """
    scale = np.where(_of_person(rows), _person(rows), 1.0)
    gamma, mse = (rows[name].to_numpy(dtype=float) / one for name, one in (("gamma", 1.0), ("mse", scale)))
    fit, own = rows["fit"].to_numpy(), np.full(len(rows), np.nan)
    for number in np.unique(fit[asked]):
        here = np.flatnonzero((fit == number) & rows["gamma"].notna().to_numpy())
        limit = np.where(asked[here], bound[here] / scale[here], 1.0)
        own[here] = _largest_psi(psi[here] / scale[here], gamma[here], mse[here], limit, quantile)
    return (unit / (own * scale))[asked]


def _largest_psi(
    psi: np.ndarray, gamma: np.ndarray, mse: np.ndarray, limit: np.ndarray, quantile: float
) -> np.ndarray:
    """Return the largest ψ below which g1 + g2 + 2 g3 of each row of a fit stays within its limit.

    A = ψ γ / (1 - γ); x'Qx is what the row's MSE of today leaves beside g1 and 2 g3. At the higher A it grows
    as (Σ 1 / (A + ψ))^-1 does. What the row's own ψ adds to x'Qx and to s = 2 / Σ (A + ψ)^-2 changes with it,
    as in `needed_variance`; the other rows keep theirs.
    """
    sampled, inside = np.isfinite(psi), np.isfinite(psi) & (gamma < 1.0)
    A = float(np.median(psi[inside] * gamma[inside] / (1.0 - gamma[inside]))) if inside.any() else 0.0
    weight = 1.0 / (A + psi[sampled])
    s = 2.0 / (weight @ weight) if sampled.any() else 0.0
    high = A + quantile * float(np.sqrt(s))
    then = 1.0 / (high + psi[sampled])
    growth = weight.sum() / then.sum() if sampled.any() else 1.0
    finite = np.where(sampled, psi, 1.0)
    shrink = np.where(sampled, finite / (A + finite), 1.0)
    g3 = np.where(sampled, s * shrink**2 / (A + finite), 0.0)
    leverage = growth * np.maximum(mse - A * shrink - 2.0 * g3, 0.0) / shrink**2
    now = np.where(sampled, 1.0 / (high + finite), 0.0)
    with np.errstate(divide="ignore"):
        others = np.maximum(1.0 / leverage - now, 0.0)  # 1 / x'Qx without the row's own sample
    others2 = np.maximum(then @ then - now**2, 0.0)

    def error(own: np.ndarray) -> np.ndarray:
        """No more than that of the direct estimate, as `sae.planning` has it."""
        w = 1.0 / (high + own)
        b = own * w
        return np.minimum(high * b + b * b / (others + w) + 4.0 * b * b * w / (others2 + w * w), own)

    top = np.where(sampled, np.maximum(finite, limit), _SPAN * np.maximum(limit, high))
    own = _largest(error, limit, top)
    return np.where(~sampled & (own >= top), np.inf, own)  # without a sample it meets its limit


def _largest(error: Callable[[np.ndarray], np.ndarray], limit: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Return the largest ψ, from the limit up, below which the error stays within the limit."""
    base, width = np.log(limit), np.log(top / limit) / (_STEPS - 1)
    first = np.full(len(limit), _STEPS)
    for step in range(_STEPS):
        bad = (first == _STEPS) & (error(np.exp(base + step * width)) > limit * (1.0 + 1e-12))
        first[bad] = step
    never = first == _STEPS
    high, low = base + first * width, base + np.maximum(first - 1, 0) * width
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        good = error(np.exp(middle)) <= limit
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return np.where(never, top, np.exp(low))
