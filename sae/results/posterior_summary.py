"""The lines of a summary that belong to a posterior: parameters, prior, and what can be trusted."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sae.results.record import FitTables
from sae.tables import label_text

__all__ = ["posterior_lines"]

_FEW_FITS = 4  # with more, coefficients are not shown fit by fit
_SHOWN = 20
_SHARES = {
    "r2_marginal": "marginal R²",
    "r2_conditional": "conditional R²",
    "icc": "ICC",
    "gamma_median": "shrinkage γ median",
}
_TRUST = {
    "quadrature_error": "quadrature error {:.1e} posterior sd",
    "k_hat": "Pareto k-hat {:.2f}",
    "ess": "ESS {:.0f}",
    "r_hat": "R-hat {:.3f}",
    "divergences": "{:.0f} divergences",
}


def posterior_lines(frame: pd.DataFrame, tables: FitTables, source: str, level: float) -> list[str]:
    """Return parameters, coefficients, prior, source and diagnostics of a Bayesian fit.

    Parameters
    ----------
    frame : DataFrame
        The estimate table.
    tables : FitTables
    source : str
        What is drawn from.
    level : float
        Of the intervals.
    """
    components, diagnostics = tables.variance_components, tables.diagnostics
    priors = ", ".join(dict.fromkeys(frame["prior"]).keys())
    priors = priors if len(priors) < 60 else f"{priors[:57]}..."
    several = isinstance(components, pd.DataFrame)
    lines = _fits(tables) if several else [_parameter(components, name, level) for name in _names(components)]
    shares = [
        f"{title} {diagnostics[name].median():.2f}" for name, title in _SHARES.items() if name in diagnostics
    ]
    lines.append("   ".join([f"prior {priors}", *shares]))
    if not several or len(components) <= _FEW_FITS:
        lines += _coefficients(tables.coefficients, level)
    trust = [
        phrase.format(float(values.min() if name == "ess" else values.max()))
        for name, phrase in _TRUST.items()
        if name in diagnostics and (values := diagnostics[name].dropna()).size
    ]
    return [*lines, "; ".join([source, *trust])]


def _names(components: Any) -> list[str]:
    """Parameters that have an interval; a variance gives way to its standard deviation."""
    names = [str(name).removesuffix("_low") for name in components.index if str(name).endswith("_low")]
    return [name for name in names if "sigma2" not in name or name.replace("sigma2", "sigma") not in names]


def _parameter(components: Any, name: str, level: float) -> str:
    mean, sd, low, high = (float(components[name + end]) for end in ("", "_sd", "_low", "_high"))
    return f"{name} {mean:.4g} (sd {sd:.2g}; {level:.0%} interval {low:.4g} to {high:.4g})"


def _coefficients(table: pd.DataFrame, level: float) -> list[str]:
    labels = [
        " / ".join(map(label_text, name if isinstance(name, tuple) else (name,))) for name in table.index
    ]
    width = max(map(len, labels))
    ends = (f"{0.5 - 0.5 * level:.1%}", f"{0.5 + 0.5 * level:.1%}")
    lines = [f"{'':<{width}} {'mean':>11} {'sd':>11} {ends[0]:>11} {ends[1]:>11}"]
    columns = table[["coef", "sd", "low", "high"]].to_numpy(dtype=float)
    for label, (mean, sd, low, high) in zip(labels, columns, strict=True):
        lines.append(f"{label:<{width}} {mean:>11.5g} {sd:>11.3g} {low:>11.5g} {high:>11.5g}")
    return lines


def _fits(tables: FitTables) -> list[str]:
    components, diagnostics = tables.variance_components, tables.diagnostics
    names = _names(components.T)
    columns = [column for name in names for column in (name, f"{name}_low", f"{name}_high")]
    kept = [name for name in ("areas", "sampled", "r2_marginal", "gamma_median") if name in diagnostics]
    shown = pd.concat([diagnostics[kept], components[columns]], axis=1)
    text = shown.head(_SHOWN).to_string(float_format="{:.4g}".format).splitlines()
    return text + ([f"… {len(shown) - _SHOWN} more fits"] if len(shown) > _SHOWN else [])
