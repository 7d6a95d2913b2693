"""Change between two periods of a fit over time, with its mean squared error."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from sae.errors import SaeInputError, name_some
from sae.results import Result
from sae.tables import label_text

__all__ = ["change"]


def change(fit: Result, first: object, last: object) -> pd.DataFrame:
    """Change of every area from one period to another.

    Parameters
    ----------
    fit : Result
        Of a model whose table has several periods.
    first, last : object
        Two values of the column ``time``.

    Returns
    -------
    DataFrame
        By domain: first, last, change, mse, se, ci_low, ci_high, interval. The MSE counts how the errors of
        the two predictions go together (area effect, time effects, coefficients, overlap of the samples). It
        and the ends rest on what makes the intervals of the table, as `interval` says.

    Raises
    ------
    SaeInputError
        If a period is unknown or an area lacks one of them.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> domain = np.repeat([f"A{d}" for d in range(60)], 3)
    >>> frame = pd.DataFrame({"domain": domain, "year": [2020, 2021, 2022] * 60})
    >>> frame["y"] = np.repeat(rng.normal(size=60), 3) + rng.normal(size=180)
    >>> spec = sae.FayHerriot("y ~ 1", temporal=sae.AR1("year"), replicates=20)
    >>> fit = spec.fit(frame.assign(vardir=0.5), seed=1)
    >>> sae.area_level.change(fit, 2020, 2022).columns.tolist()
    ['domain', 'first', 'last', 'change', 'mse', 'se', 'ci_low', 'ci_high', 'interval']
    """
    frame = fit.estimates.frame
    periods = frame["time"]
    rows = []
    for period in (first, last):
        chosen = np.flatnonzero((periods == label_text(period)).to_numpy(dtype=bool))
        if not len(chosen):
            raise SaeInputError(
                f"No estimate of the period {period}.",
                hint=f"The periods are {name_some(periods.unique(), 15)}.",
            )
        rows.append(dict(zip(frame["domain"].iloc[chosen], chosen, strict=True)))
    lacking = sorted(set(rows[0]) ^ set(rows[1]))
    if lacking:
        raise SaeInputError(
            f"{len(lacking)} areas lack one of the periods {first} and {last}: {name_some(lacking)}.",
            hint="Give them as rows of areas=, with covariates.",
            areas=lacking,
        )
    domains = list(rows[0])
    start, stop = (np.array([places[name] for name in domains]) for places in rows)
    count = np.arange(len(domains))
    contrasts = sparse.csr_array(
        (np.repeat([1.0, -1.0], len(count)), (np.tile(count, 2), np.concatenate([stop, start]))),
        shape=(len(count), len(frame)),
    )
    estimate = frame["estimate"].to_numpy(dtype=float)
    summary = fit.diagnostics.iloc[0]
    moved, mse, ends = fit.sums(contrasts, float(summary["sampled"] - summary["coefficients"]))
    return pd.DataFrame(
        {
            "domain": domains,
            "first": estimate[start],
            "last": estimate[stop],
            "change": moved,
            "mse": mse,
            "se": np.sqrt(mse),
            "ci_low": ends.low,
            "ci_high": ends.high,
            "interval": ends.interval,
        }
    )
