"""Compile and cache the kernels of every family beforehand, each by one tiny fit as its users make it.

Inflated beta shares are sampled without a kernel: they are not here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from sae import area_level
from sae.area_level import AR1, BYM2, RW1, SAR, FayHerriot, MultivariateFayHerriot
from sae.batch.estimate import Step, silent
from sae.datasets import country
from sae.design_based import direct, direct_from_blocks
from sae.numerics.fay_herriot import fit as fay_herriot
from sae.unit_level import (
    EBP,
    LogitMixed,
    MQuantile,
    MultinomialMixed,
    NestedError,
    RobustNestedError,
    TwoFoldNestedError,
)

__all__ = ["FAMILIES", "caches", "warm_up"]

_AREAS = 12  # in a ring; the last one has no sample
_NAMES = [f"A{k:02d}" for k in range(_AREAS)]
_RING = pd.DataFrame({"a": _NAMES, "b": [*_NAMES[1:], _NAMES[0]]})
_SEED = 1


def _areas() -> pd.DataFrame:
    """Columns of any area-level family, of areas whose outcome follows x."""
    k = np.arange(_AREAS)
    y = 0.2 + 0.04 * k + 0.05 * np.sin(2.0 * k)
    frame = pd.DataFrame(
        {
            "domain": _NAMES,
            "group": [f"G{j % 4}" for j in k],
            "x": k + 1.0,
            "y": y,
            "z": y + 0.03 * np.cos(k),
            "vardir": 0.002 + 0.0002 * k,
            "x_var": 0.01,
            "n": 30,
            "n_eff": 30.0,
            "df": 9,
            "count": np.round(30 * y),
            "N": 400,
        }
    )
    frame.loc[_AREAS - 1, ["y", "z", "vardir", "n_eff", "count"]] = np.nan
    return frame


def _waves() -> pd.DataFrame:
    frame = _areas()
    return pd.concat([frame.assign(year=year, y=frame["y"] + 0.02 * year) for year in (1, 2, 3)])


def _used(fit: Any) -> None:
    """Ask a posterior for draws: their kernels are others than those of the moments."""
    fit.draws(8, seed=_SEED)


def _direct() -> None:
    land = country(seed=_SEED)
    survey = land.lfs(seed=_SEED)
    direct(survey, "employment_rate", by=["region"], covariance=True)
    direct_from_blocks(survey.frame.assign(w=survey.weights), "employment_rate", "region", weights="w")


def _fay_herriot() -> None:
    frame = _areas()
    FayHerriot("y ~ x").fit(frame)
    _used(FayHerriot("y ~ x", method="bayes").fit(frame, seed=_SEED))


def _structures() -> None:
    frame = _areas()
    _used(FayHerriot("y ~ x", spatial=SAR(_RING)).fit(frame, seed=_SEED))
    _used(FayHerriot("y ~ x", spatial=BYM2(_RING), method="bayes").fit(frame, seed=_SEED))
    FayHerriot("y ~ x", temporal=AR1("year"), replicates=2).fit(_waves(), seed=_SEED)
    _used(FayHerriot("y ~ x", temporal=RW1("year"), method="bayes").fit(_waves(), seed=_SEED))


def _multivariate() -> None:
    frame = _areas()
    for method in ("reml", "bayes"):
        spec = MultivariateFayHerriot(
            ["y ~ x", "z ~ x"], vardir={"y": "vardir", "z": "vardir", ("y", "z"): 0}, method=method
        )
        spec.fit(frame, seed=_SEED)


def _nested_error() -> None:
    k = np.arange(8 * _AREAS)
    units = pd.DataFrame({"domain": np.repeat(_NAMES, 8), "x": np.sin(1.7 * k), "y": np.cos(k) + 0.1 * k})
    means = pd.DataFrame({"domain": _NAMES, "x": 0.1, "N": 400})
    for method in ("reml", "bayes"):
        spec = NestedError("y ~ x", population="N", method=method)
        _used(spec.fit(units, areas=means, seed=_SEED))
    RobustNestedError("y ~ x", replicates=2).fit(units, areas=means, seed=_SEED)
    cells = {"group": [name[-1] for name in means["domain"]]}
    TwoFoldNestedError("y ~ x", area="group").fit(units, areas=means.assign(**cells), seed=_SEED)


def _ebp() -> None:
    k = np.arange(8 * _AREAS)
    units = pd.DataFrame({"domain": np.repeat(_NAMES, 8), "x": np.sin(1.7 * k), "y": 9.0 + np.cos(k)})
    people = pd.concat([units] * 10).assign(w=1.0)
    for weights in (None, "w"):
        for indicators in (["mean"], ["gini"]):
            spec = EBP("y ~ x", indicators=indicators, population_weights=weights, mse="wild", replicates=2)
            spec.fit(units, areas=people, seed=_SEED)
    EBP("y ~ x", indicators=["gini"], replicates=2).fit(units, areas=people, seed=_SEED)
    for indicators in (["head_count"], ["gini"]):
        spec = EBP("y ~ x", indicators=indicators, threshold=9.0, method="bayes", draws=100)
        spec.fit(units, areas=people, seed=_SEED)


def _m_quantile() -> None:
    k = np.arange(8 * _AREAS)
    units = pd.DataFrame({"domain": np.repeat(_NAMES, 8), "x": np.sin(1.7 * k), "y": 9.0 + np.cos(k)})
    people = pd.concat([units] * 2)
    indicators = ("mean", "head_count")
    MQuantile("y ~ x", indicators=indicators, threshold=9.0, replicates=2).fit(
        units, areas=people, seed=_SEED
    )


def _logit() -> None:
    k = np.arange(6 * _AREAS)
    units = pd.DataFrame({"domain": np.repeat(_NAMES, 6), "x": k % 3, "y": (np.sin(1.7 * k) > 0).astype(int)})
    cells = pd.DataFrame({"domain": np.repeat(_NAMES, 3), "x": np.tile([0, 1, 2], _AREAS), "N": 100})
    _used(LogitMixed("y ~ x", population="N").fit(units, areas=cells, seed=_SEED))


def _multinomial() -> None:
    k = np.arange(_AREAS)
    frame = pd.DataFrame({"domain": _NAMES, "a": 5 + k % 3, "b": 4 + k % 2, "c": 6.0})
    MultinomialMixed("a + b + c ~ 1", domain="domain").fit(frame, seed=_SEED)


def _drawn(kind: str, **options: Any) -> Callable[[], None]:
    """Make a fit by one posterior, which is asked for draws."""
    return lambda: _used(getattr(area_level, kind)(**options).fit(_areas(), seed=_SEED))


def _plain(kind: str, **options: Any) -> Callable[[], None]:
    return lambda: getattr(area_level, kind)(**options).fit(_areas(), seed=_SEED)


FAMILIES: dict[str, Callable[[], None]] = {
    "direct estimates": _direct,
    "Fay–Herriot": _fay_herriot,
    "spatial and temporal": _structures,
    "multivariate": _multivariate,
    "two-fold": _plain("TwoFoldFayHerriot", formula="y ~ x", area="group", replicates=2),
    "robust": _plain("RobustFayHerriot", formula="y ~ x"),
    "measurement error": _plain("MeasurementErrorFayHerriot", formula="y ~ x", errors={"x": "x_var"}),
    "binomial": _drawn("BinomialMixed", formula="count ~ x"),
    "beta-binomial": _drawn("BetaBinomialMixed", formula="count ~ x"),
    "Poisson": _drawn("PoissonMixed", formula="count ~ x", exposure="N"),
    "beta": _drawn("BetaFayHerriot", formula="y ~ x"),
    "unmatched": _drawn("UnmatchedFayHerriot", formula="y ~ x", link="log"),
    "You–Chapman": _drawn("YouChapman", formula="y ~ x"),
    "Student": _drawn("StudentFayHerriot", formula="y ~ x"),
    "horseshoe": _drawn("HorseshoeFayHerriot", formula="y ~ x"),
    "nested error": _nested_error,
    "empirical best predictor": _ebp,
    "M-quantile": _m_quantile,
    "logit of units": _logit,
    "multinomial": _multinomial,
}


def caches() -> bool:
    """Whether this process can keep kernels on disk."""
    return fay_herriot._fit.stats.cache_path is not None  # type: ignore[attr-defined]


def warm_up(step: Step = silent, *, share: int = 0, shares: int = 1) -> None:
    """Make one tiny fit of every family.

    Parameters
    ----------
    step : callable
        Called with the name of each.
    share, shares : int
        Of several processes that divide the families, which one this is, from 0, and how many there are.

    Examples
    --------
    >>> len(FAMILIES) > 10
    True
    """
    for family, fit in list(FAMILIES.items())[share::shares]:
        step(family)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit()
