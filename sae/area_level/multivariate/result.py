"""What a multivariate fit gives beyond a table: contrasts and ratios of components, each with its MSE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import stdtrit

from sae.area_level.multivariate.rows import ComponentRows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.multivariate.importance import BlockPosterior
from sae.results import IntervalKind, Result, interval_name
from sae.results.summary import check_lines, coefficient_lines, gain_lines, size_text
from sae.tables import EstimateTable, cv_of, to_numbers

__all__ = ["IntervalRule", "MultivariateResult", "interval_ends"]

_SHOWN = 20  # rows of a table in the summary


@dataclass(frozen=True, eq=False)
class IntervalRule:
    """What the intervals of one fit rest on.

    Attributes
    ----------
    areas : ndarray of int
        The areas of the fit.
    freedom : ndarray, shape (R,)
        Sampled areas less coefficients.
    kind : IntervalKind
    prior : str
        Of a posterior.
    posterior : BlockPosterior or None
        Where there are few areas or the effects are degenerate; else Student's t on the MSE.
    details : tuple of str
        What else a table says of them.
    """

    areas: np.ndarray
    freedom: np.ndarray
    kind: IntervalKind
    prior: str = ""
    posterior: BlockPosterior | None = None
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """How a table names the interval."""
        return interval_name(self.kind, self.prior, details=self.details)


def interval_ends(
    rule: IntervalRule,
    contrasts: np.ndarray,
    estimate: np.ndarray,
    mse: np.ndarray,
    freedom: np.ndarray,
    level: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the intervals of linear combinations of an area's components.

    Parameters
    ----------
    rule : IntervalRule
        Of the fit of these areas.
    contrasts : ndarray, shape (D, C, R)
    estimate, mse, freedom : ndarray, shape (D C,)
        Of the combinations, area by area, with the degrees of freedom of each.
    level : float
    """
    tail = 0.5 * (1.0 - level)
    if rule.posterior is not None:
        mixture = rule.posterior.mixture(contrasts)
        return mixture.quantile(tail), mixture.quantile(1.0 - tail)
    half = stdtrit(freedom, 1.0 - tail) * np.sqrt(mse)
    if rule.kind is IntervalKind.NONE:
        half = np.full(len(estimate), np.nan)
    return estimate - half, estimate + half


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MultivariateResult(Result):
    """A fitted multivariate model: a `Result` with one row per area and component.

    Attributes
    ----------
    effect_covariance : DataFrame, shape (R, R)
        V_u at the estimates, labelled by components; one below the other where there are several fits.
    correlations : DataFrame
        Correlations of the effects of two components, and rho of the AR structures, with standard errors.
    rows : ComponentRows
        What was fitted.
    rules : tuple of IntervalRule
        What the intervals of each fit rest on.
    centre : ndarray of float, shape (D R,)
        Predictions before any benchmark.
    error : JointError
        Of these.
    """

    effect_covariance: pd.DataFrame
    correlations: pd.DataFrame
    rows: ComponentRows
    rules: tuple[IntervalRule, ...]
    centre: np.ndarray
    error: JointError

    @classmethod
    def of(cls, result: Result, **more: Any) -> MultivariateResult:
        """Return a result with what only a multivariate fit has."""
        return cls(**{own.name: getattr(result, own.name) for own in fields(result)}, **more)

    def contrast(
        self, weights: Mapping[str, float], *, constant: float = 0.0, name: str | None = None
    ) -> EstimateTable:
        """Return a linear combination of the components of every area, with its MSE.

        Parameters
        ----------
        weights : mapping of str to float
            By component; {"foreign": 1, "native": -1} is the gap.
        constant : float
            Added to the combination: a share that was left out is ``contrast({"y1": -1, "y2": -1},
            constant=1)``.
        name : str, optional
            The indicator in the table; by default the combination in words.

        Returns
        -------
        EstimateTable
            One row per area. After a benchmark it is the contrast of the benchmarked estimates.

        Raises
        ------
        SaeSpecError
            If a component does not exist, or all weights are 0.
        """
        w = self._weights_of(weights)
        words = name or _in_words(self.rows.components, w, constant)
        slopes = np.broadcast_to(w, self.rows.direct.shape)
        estimate = self._values() @ w + constant
        mse = self._mse_of(slopes)
        low, high = self._ends(slopes, estimate, mse)
        direct, direct_mse = self._direct(slopes, self.rows.direct[:, w != 0] @ w[w != 0] + constant)
        return self._table(
            words,
            w != 0,
            estimate,
            mse,
            low,
            high,
            direct,
            direct_mse,
            interval=self._by_area("interval"),
            mse_method=f"{self.source.joint} matrix",
            unit=self._unit() if constant else "",
        )

    def ratio(self, numerator: str, denominator: str, *, name: str | None = None) -> EstimateTable:
        """Return the ratio of two components of every area, MSE by the delta method, interval in logs.

        Raises
        ------
        SaeSpecError
            If a component does not exist.
        SaeInputError
            If an estimate is not positive, so that its ratio has no meaning; the areas are named.
        """
        over, under = self._weights_of({numerator: 1.0}), self._weights_of({denominator: 1.0})
        if numerator == denominator:
            raise SaeSpecError("The ratio of a component to itself is 1.")
        values = self._values()
        a, b = values @ over, values @ under
        bad = (a <= 0) | (b <= 0)
        if bad.any():
            areas = self.rows.areas["domain"][bad]
            raise SaeInputError(
                f"{int(bad.sum())} of {len(a)} areas have no positive estimates: {name_some(areas)}.",
                hint="A ratio of such estimates has no meaning; use contrast().",
                areas=areas,
            )
        slopes = over / a[:, None] - under / b[:, None]  # of the logarithm
        mse = self._mse_of(slopes)
        low, high = self._ends(slopes, np.zeros(len(a)), mse)
        y = self.rows.direct
        with np.errstate(divide="ignore", invalid="ignore"):
            top, bottom = y[:, over > 0][:, 0], y[:, under > 0][:, 0]
            known = np.where((top > 0) & (bottom > 0), top / bottom, np.nan)
            own = known[:, None] * (over / top[:, None] - under / bottom[:, None])
        direct, direct_mse = self._direct(np.nan_to_num(own), known)
        estimate = a / b
        return self._table(
            name or f"{numerator} / {denominator}",
            (over + under) > 0,
            estimate,
            estimate**2 * mse,
            estimate * np.exp(low),
            estimate * np.exp(high),
            direct,
            direct_mse,
            interval=self._by_area("interval") + ", log scale",
            mse_method=f"delta method on the {self.source.joint} matrix",
            unit="",
        )

    def summary(self) -> str:
        """Return the fit on one screen: effects, coefficients, gain over the direct estimates, checks."""
        if self.posterior is not None:
            effects = self.correlations.to_string(float_format="{:.4g}".format)
            return "\n\n".join([super().summary(), *([effects] if len(self.correlations) else [])])
        rows = self.rows
        sizes = f"{size_text(rows.areas)} × {len(rows.components)} components"
        sampled = rows.sampled
        lines = [
            f"{self.title:<56} {sizes}",
            f"{int(sampled.all(axis=1).sum())} areas sampled in every component, "
            f"{int((sampled.any(axis=1) & ~sampled.all(axis=1)).sum())} in some, "
            f"{int((~sampled.any(axis=1)).sum())} in none",
            "",
        ]
        fits = pd.concat([self.diagnostics, self.variance_components], axis=1)
        shown = fits[["sampled", "sigma2_u", "sigma2_u_se", "r2_marginal", "gamma_median"]]
        show = "{:.4g}".format
        for table in (shown, self.correlations):
            lines += [*table.head(_SHOWN).to_string(float_format=show).splitlines()] if len(table) else []
            lines += [f"… {len(table) - _SHOWN} more rows"] if len(table) > _SHOWN else []
            lines += [""] if len(table) else []
        lines += [*coefficient_lines(self.coefficients, self.coefficients.index.nlevels - 2), ""]
        lines += gain_lines(self.estimates.frame)
        if self.benchmarks:
            lines.append(
                f"benchmarked by {self.benchmarks[-1].method} to {len(self.benchmarks[-1].labels)} targets"
            )
        lines.append(f"checks: {'; '.join(check_lines(self.residuals))}")
        lines += [f"note: {message.text}" for message in self.messages]
        return "\n".join(lines)

    def _weights_of(self, weights: Mapping[str, float]) -> np.ndarray:
        known = self.rows.components
        strange = [name for name in weights if name not in known]
        if strange:
            raise SaeSpecError(
                f"There is no component {name_some(strange)}.", hint=f"There are {name_some(known)}."
            )
        w = np.array([float(weights.get(name, 0.0)) for name in known])
        if not np.isfinite(w).all() or not w.any():
            raise SaeSpecError("The weights of a contrast are finite numbers that are not all 0.")
        return w

    def _values(self) -> np.ndarray:
        return self.estimates.frame["estimate"].to_numpy(dtype=float).reshape(self.rows.direct.shape)

    def _mse_of(self, slopes: np.ndarray) -> np.ndarray:
        return self.joint.mse_of(_sums(slopes))

    def _ends(self, slopes: np.ndarray, centre: np.ndarray, mse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ends of centre + slopes · (truth - prediction), stretched as a benchmark did the √MSE."""
        used = slopes.any(axis=0)
        before = np.einsum("dr,dr->d", slopes, self.centre.reshape(slopes.shape))
        old = self.error.mse_of(_sums(slopes))
        low, high = np.empty(len(slopes)), np.empty(len(slopes))
        for rule in self.rules:
            own, freedom = rule.areas, np.full(len(rule.areas), rule.freedom[used].min())
            low[own], high[own] = interval_ends(
                rule, slopes[own, None, :], before[own], old[own], freedom, self.spec.level
            )
        stretch = np.sqrt(mse / old)
        return centre + stretch * (low - before), centre + stretch * (high - before)

    def _direct(self, slopes: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        used = slopes.any(axis=0)
        psi = self.rows.psi[:, used][:, :, used]
        mse = np.einsum("dr,drs,ds->d", slopes[:, used], psi, slopes[:, used])
        return np.where(np.isfinite(mse), value, np.nan), np.where(np.isfinite(value), mse, np.nan)

    def _by_area(self, column: str) -> np.ndarray:
        """Return a column of the estimates that all components of an area share."""
        return self.estimates.frame[column].to_numpy(dtype=object)[:: len(self.rows.components)]

    def _unit(self) -> str:
        units = self.estimates.frame["unit"].unique()
        return str(units[0]) if len(units) == 1 else ""

    def _table(
        self,
        name: str,
        used: np.ndarray,
        estimate: np.ndarray,
        mse: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        direct: np.ndarray,
        direct_mse: np.ndarray,
        *,
        interval: np.ndarray,
        mse_method: str,
        unit: str,
    ) -> EstimateTable:
        frame, rows = self.estimates.frame, self.rows
        counts = to_numbers(frame, "n").reshape(rows.direct.shape)
        n = counts[:, used].sum(axis=1) if rows.split else counts[:, used].max(axis=1)
        direct_se = np.sqrt(direct_mse)
        first = {name: frame[name].iloc[0] for name in ("indicator", "method", "model", "run")}
        what = first["indicator"] if rows.split else ", ".join(rows.components)
        table = {
            **{str(known): rows.areas[known] for known in rows.areas},
            "indicator": name,
            "definition": f"{name} of {what}",
            "unit": unit,
            "n": n,
            "direct": direct,
            "direct_se": direct_se,
            "direct_cv": cv_of(direct_se, direct),
            "estimate": estimate,
            "mse": mse,
            "ci_low": low,
            "ci_high": high,
            "interval": interval,
            "in_sample": np.asarray(rows.sampled[:, used].all(axis=1)),
            "mse_method": mse_method,
            "prior": self._by_area("prior"),
            "method": first["method"],
            "model": first["model"],
            "run": first["run"],
        }
        groups = tuple(group for group in self.estimates.groups if group != rows.split)
        return EstimateTable.from_mse(table, groups)


def _sums(slopes: np.ndarray) -> sparse.csr_array:
    """Return one row of weights per area over all rows of the table."""
    n, size = slopes.shape
    return sparse.csr_array(
        (slopes.ravel(), (np.repeat(np.arange(n), size), np.arange(n * size))), shape=(n, n * size)
    )


def _in_words(components: Sequence[str], w: np.ndarray, constant: float) -> str:
    """Return the combination in words, such as "foreign - native"; what is added stands first."""
    order = np.argsort(w <= 0, kind="stable")
    words = f"{constant:g}" if constant else ""
    for k in order[w[order] != 0]:
        size = "" if abs(w[k]) == 1 else f"{abs(w[k]):g} "
        sign = ("" if w[k] > 0 else "-") if not words else (" + " if w[k] > 0 else " - ")
        words += f"{sign}{size}{components[k]}"
    return words
