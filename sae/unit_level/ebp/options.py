"""What options of an EBP mean together: refused by name where they have no meaning, before data are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sae.errors import SaeSpecError
from sae.numerics.ebp.indicators import ADDITIVE, RANKED, quantile_share
from sae.specs import one_of
from sae.tables import ESTIMATE_COLUMNS
from sae.unit_level.ebp.clusters import refuse_clusters
from sae.unit_level.ebp.ell import refuse_ell
from sae.unit_level.ebp.sample import share_of_median

__all__ = ["POOR", "REPLICATES", "check_options", "is_number", "listed_indicators"]

POOR = ("head_count", "gap", "severity")  # need a threshold
REPLICATES = 200
_LEAST_DRAWS = 100  # from which the ends of an interval are read
_OF_AREAS = ("level", "part", "population")  # columns of the areas of every result


def check_options(spec: Any, names: Sequence[str]) -> None:
    """Refuse options that have no meaning, alone or with each other.

    Parameters
    ----------
    spec : EBP
        Whose module imports this one.
    names : sequence of str
        Of its indicators.

    Raises
    ------
    SaeSpecError
    """
    _check_welfare(spec, names)
    _check_columns(spec)
    if spec.method == "ell":
        refuse_ell(mse=spec.mse, linked=spec.linked)
    for name, least in (("replicates", 2), ("draws", _LEAST_DRAWS if spec.method == "bayes" else 2)):
        value = getattr(spec, name)
        if value is not None and value < least:
            raise SaeSpecError(f"{name} = {value}: at least {least} are needed.")
    if spec.weights is not None and spec.method == "ell":
        raise SaeSpecError(
            f"weights={spec.weights!r} has no meaning with method={spec.method!r}.",
            hint='It is of "reml" and "ml". The weights of a Survey serve a threshold of its units.',
        )
    if spec.errors != "normal" and spec.method in ("bayes", "ell"):
        raise SaeSpecError(
            f"errors={spec.errors!r} has no meaning with method={spec.method!r}: its errors are normal.",
            hint='Use method="reml" or "ml".',
        )
    if spec.clusters is not None:
        refuse_clusters(spec.clusters, method=spec.method, mse=spec.mse, weights=spec.weights)
    _check_bayes(spec)


def _check_welfare(spec: Any, names: Sequence[str]) -> None:
    if spec.shift is not None and spec.transform in ("none", "log-shift"):
        raise SaeSpecError(
            f"shift = {spec.shift:g} has no meaning with transform={spec.transform!r}.",
            hint="The shift of log-shift is estimated." if spec.transform == "log-shift" else "",
        )
    poor = [name for name in names if name in POOR]
    if poor and spec.threshold is None:
        raise SaeSpecError(
            f"{poor[0]} needs a threshold.", hint='Give threshold=9000.0, or "60% of the median".'
        )
    if isinstance(spec.threshold, str) and share_of_median(spec.threshold) is None:
        raise SaeSpecError(
            f"threshold = {spec.threshold!r} is none.", hint='Write a number, or "60% of the median".'
        )


def _check_columns(spec: Any) -> None:
    if len({spec.domain, *spec.levels}) < 1 + len(spec.levels):
        raise SaeSpecError("levels= names a column twice, or that of the domain.")
    kept = [name for name in spec.levels if name in _OF_AREAS]
    kept += [spec.groups] if spec.groups in {*ESTIMATE_COLUMNS, "level"} else []
    if kept:
        raise SaeSpecError(
            f"{kept[0]!r} is a name that the result keeps for a column of its own.",
            hint="Rename the column, in the units too.",
        )


def _check_bayes(spec: Any) -> None:
    if spec.method != "bayes":
        if spec.prior is not None:
            raise SaeSpecError(
                f"prior={str(spec.prior)!r} has no meaning with method={spec.method!r}.",
                hint='Use method="bayes".',
            )
        return
    if spec.mse != "auto" or spec.replicates != REPLICATES:
        name, value = ("mse", spec.mse) if spec.mse != "auto" else ("replicates", spec.replicates)
        raise SaeSpecError(
            f'{name}={value!r} has no meaning with method="bayes".',
            hint="The posterior variance takes its place; draws= are those of the posterior.",
        )
    if spec.weights is not None:
        raise SaeSpecError(
            f'weights={spec.weights!r} has no meaning with method="bayes": the posterior is that of the '
            "model, whatever the design.",
            hint='Use method="reml"; a Survey brings weights for its threshold alone.',
        )


def listed_indicators(given: Any) -> tuple[str | tuple[str, Callable[..., float]], ...]:
    """Return indicators as names, and functions as (name, function).

    Raises
    ------
    SaeSpecError
        If one is neither known nor a function, or two have one name.
    """
    if isinstance(given, (str, Mapping)) or callable(given):
        given = [given]
    if not isinstance(given, Sequence) or not len(given):
        raise SaeSpecError("indicators= names no indicator.", hint='Such as indicators=["mean", "gini"].')
    listed: list[str | tuple[str, Callable[..., float]]] = []
    for one in given:
        if isinstance(one, str):
            if quantile_share(one) is None:
                one_of("indicators", one, (*ADDITIVE, *RANKED, "median", "quantile_10"))
            listed.append(one)
        elif isinstance(one, Mapping):
            listed += [(str(name), function) for name, function in one.items()]
        elif isinstance(one, tuple) and len(one) == 2:
            listed.append((str(one[0]), one[1]))
        else:
            listed.append((getattr(one, "__name__", ""), one))
    names = [one if isinstance(one, str) else one[0] for one in listed]
    for one in listed:
        if not isinstance(one, str) and not callable(one[1]):
            raise SaeSpecError(f"indicators: {one!r} is neither a name nor a function.")
    twice = {name for name in names if names.count(name) > 1 or not name}
    own = {one[0] for one in listed if not isinstance(one, str)}
    known = {*ADDITIVE, *RANKED, "median"}
    if twice or own & known:
        raise SaeSpecError(
            f"indicators: {sorted(twice or own & known)[0]!r} names two of them.",
            hint="Give functions names of their own: {'name': function}.",
        )
    return tuple(listed)


def is_number(value: Any) -> bool:
    """Whether a threshold is a number, and no share of the median or function of the units."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
