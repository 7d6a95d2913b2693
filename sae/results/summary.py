"""The printed summary of a fit: what an office looks at first."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeWarning
from sae.quality import bias_test, residual_normality
from sae.results.record import FitTables
from sae.samplers import Posterior
from sae.tables import label_text, to_numbers

if TYPE_CHECKING:
    from sae.quality import Benchmark

__all__ = [
    "check_lines",
    "coefficient_lines",
    "failed_checks",
    "gain_lines",
    "size_text",
    "summary_lines",
]

CV_LIMIT = 0.165  # the limit below which an estimate is published without a note in many offices
_DOUBT = 0.05  # a check with a smaller p-value is called doubtful
FEW_FITS = 4  # with more, the coefficients are shown as a range over the fits


def summary_lines(
    *,
    title: str,
    frame: pd.DataFrame,
    tables: FitTables,
    posterior: Posterior | None,
    level: float,
    benchmark: Benchmark | None,
    notes: Sequence[str],
) -> list[str]:
    """Return title, variance, coefficients, gain over the direct estimates, checks and notes.

    Parameters
    ----------
    title : str
    frame : DataFrame
        The estimate table.
    tables : FitTables
    posterior : Posterior or None
    level : float
        Of the intervals.
    benchmark : Benchmark or None
        The last one.
    notes : sequence of str
    """
    sampled = int(frame["in_sample"].sum())
    sizes = f"{size_text(frame)}: {sampled} sampled, {len(frame) - sampled} without sample"
    lines = [f"{title:<46} {sizes}"]
    if posterior is not None:
        from sae.results.posterior_summary import posterior_lines

        lines += posterior_lines(frame, tables, posterior.source, level)
    else:
        several = isinstance(tables.variance_components, pd.DataFrame)
        lines += _fits(tables) if several else _variance(tables)
        lines += coefficient_lines(tables.coefficients, tables.coefficients.index.nlevels - 1)
    lines += ["", *gain_lines(frame)]
    if benchmark is not None:
        low, high = benchmark.adjustment.min(), benchmark.adjustment.max()
        lines.append(
            f"benchmarked by {benchmark.method} to {len(benchmark.labels)} targets, "
            f"adjustments {low:.4g} to {high:.4g}"
        )
    lines.append(f"checks: {'; '.join(check_lines(tables.residuals))}")
    return lines + [f"note: {text}" for text in notes]


def _variance(tables: FitTables) -> list[str]:
    components, fit = tables.variance_components, tables.diagnostics.iloc[0]
    others = [str(name) for name in components.index if not str(name).startswith("sigma2_u")]
    shown = [f"{name} {_with_se(components, name)}" for name in others if not name.endswith("_se")]
    if "sigma2_u" not in components:  # a model without area effects
        return ["   ".join(shown)]
    return [
        f"model variance {_with_se(components, 'sigma2_u')}   "
        f"marginal R² {fit['r2_marginal']:.2f}   shrinkage γ median {fit['gamma_median']:.2f}",
        *([f"conditional R² {fit['r2_conditional']:.2f}   ICC {_correlations(fit)}"] if "icc" in fit else []),
        *(["   ".join(shown)] if shown else []),
    ]


def _correlations(fit: Any) -> str:
    """Write the correlation of units that share all effects, and of those that share the area's alone."""
    return f"{fit['icc']:.2f}" + (f", of the area {fit['icc_area']:.2f}" if "icc_area" in fit else "")


def _with_se(components: Any, name: str) -> str:
    """Write a value with its standard error, which a variance of exactly 0 has not."""
    error = float(components.get(f"{name}_se", np.nan))
    return f"{float(components[name]):.4g}" + (f" (se {error:.2g})" if np.isfinite(error) else "")


def size_text(frame: pd.DataFrame) -> str:
    """Say how many areas the rows are about: "11 areas × 3 periods", not 33 areas.

    Examples
    --------
    >>> size_text(pd.DataFrame({"domain": ["A", "B", "A", "B"], "time": ["2024", "2024", "2025", "2025"]}))
    '2 areas × 2 periods'
    """
    each = frame.groupby("domain", observed=True).size()
    if each.max() == 1:
        return f"{len(each)} areas"
    if each.min() < each.max():
        return f"{len(each)} areas in {len(frame)} rows"
    names = {"time": "periods", "indicator": "indicators"}
    repeated = [names[one] for one in names if one in frame and frame[one].nunique() == each.max()]
    return f"{len(each)} areas × {each.max()} {(*repeated, 'rows')[0]}"


def coefficient_lines(table: pd.DataFrame, per: int = 0) -> list[str]:
    """Show the coefficients of one fit or of a few, else their range over the fits.

    Parameters
    ----------
    table : DataFrame
        coef, se, z, p.
    per : int
        Leading levels of the index that name the fit.
    """
    terms = [str(name) for name in table.index.names[per:]]
    fits = table.reset_index(terms).index.unique() if per else ()
    if len(fits) > FEW_FITS:
        spread = table.groupby(level=terms, sort=False)["coef"].agg(["min", "median", "max"])
        spread.index = pd.Index(_labels(spread.index))
        return spread.to_string(float_format="{:.5g}".format).splitlines()
    labels = _labels(table.index)
    width = max(map(len, labels))
    lines = [f"{'':<{width}} {'coef':>11} {'se':>11} {'z':>7} {'p':>7}"]
    for label, (_, row) in zip(labels, table.iterrows(), strict=True):
        p = "<0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
        lines.append(f"{label:<{width}} {row['coef']:>11.5g} {row['se']:>11.3g} {row['z']:>7.1f} {p:>7}")
    return lines


def _labels(index: pd.Index) -> list[str]:
    return [" / ".join(map(label_text, name if isinstance(name, tuple) else (name,))) for name in index]


def _fits(tables: FitTables) -> list[str]:
    table = pd.concat([tables.diagnostics, tables.variance_components], axis=1)
    shown = table[["areas", "sampled", "sigma2_u", "sigma2_u_se", "r2_marginal", "gamma_median"]]
    return shown.head(20).to_string(float_format="{:.4g}".format).splitlines() + (
        [f"… {len(shown) - 20} more fits"] if len(shown) > 20 else []
    )


def gain_lines(frame: pd.DataFrame) -> list[str]:
    """Set the CVs of direct and model estimates against each other, line by line."""
    direct, model = (to_numbers(frame, name) for name in ("direct_cv", "cv"))
    both = np.isfinite(direct) & np.isfinite(model)
    lines = [f"{'':<22} {'direct':>8} {'model':>8} {'gain':>8}"]
    if both.any():
        before, after = np.median(direct[both]), np.median(model[both])
        lines.append(f"{'median CV':<22} {before:>8.1%} {after:>8.1%} {1 - after / before:>8.0%}")
    good = [f"{int((cv < CV_LIMIT).sum())}/{int(np.isfinite(cv).sum())}" for cv in (direct, model)]
    lines.append(f"{f'areas CV < {CV_LIMIT:.1%}':<22} {good[0]:>8} {good[1]:>8}")
    return lines


def check_lines(residuals: pd.DataFrame) -> list[str]:
    """Judge normality and bias of a fit, one phrase each."""
    return [text for text, _ in _checks(residuals)]


def failed_checks(residuals: pd.DataFrame) -> list[str]:
    """Return the phrases of `check_lines` that say "doubtful": what the reason of a published row names."""
    return [text for text, passed in _checks(residuals) if not passed]


def _checks(residuals: pd.DataFrame) -> list[tuple[str, bool]]:
    """Return what is said of each check, and whether nothing speaks against the fit."""
    checks = []
    try:
        with warnings.catch_warnings(record=True) as doubts:  # said in the line, not beside it
            warnings.simplefilter("always", SaeWarning)
            p = residual_normality(residuals["standardised"].to_numpy()).p_value
        about = " about" if doubts else ""
        checks.append((f"normality of residuals {_verdict(p)} (p{about} {p:.2g})", p >= _DOUBT))
    except SaeInputError:
        checks.append(("normality of residuals: too few areas", True))
    try:
        # against the regression part: a shrunken estimate shares the error of its own direct estimate
        fitted, residual = (residuals[name].to_numpy() for name in ("fitted", "residual"))
        bias = bias_test(fitted + residual, fitted)
        text = (
            f"bias of model vs direct {_verdict(bias.p_value)} (slope {bias.slope:.2f}, p {bias.p_value:.2g})"
        )
        checks.append((text, bias.p_value >= _DOUBT))
    except SaeInputError:
        checks.append(("bias of model vs direct: no covariates, or too few areas", True))
    return checks


def _verdict(p: float) -> str:
    return "ok" if p >= _DOUBT else "doubtful"
