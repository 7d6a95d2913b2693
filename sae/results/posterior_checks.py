"""What only a posterior can tell of a fit: draws for ArviZ, leave-one-out, predictive checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError
from sae.numerics.random.streams import seed_of
from sae.samplers import Posterior
from sae.samplers.checks import predictive_check
from sae.tables import joined_labels, labels

__all__ = ["arviz_of", "loo_table", "predictive_table"]


def arviz_of(
    posterior: Posterior,
    frame: pd.DataFrame,
    rows: pd.DataFrame,
    coefficients: pd.DataFrame,
    n: int,
    seed: int | np.random.Generator | None,
) -> Any:
    """Return n joint draws as ArviZ knows them: see `Result.to_arviz`.

    Parameters
    ----------
    posterior : Posterior
    frame : DataFrame
        The estimate table.
    rows : DataFrame
        The columns that tell its rows apart.
    coefficients : DataFrame
        By term, the last level of the index.
    n, seed
        Of the draws.
    """
    number = _seed("to_arviz", seed)
    if n < 16 or n % 4:
        raise SaeSpecError(f"n = {n}: ArviZ gets 4 chains, so that n is a multiple of 4, at least 16.")
    from sae.samplers.arviz import to_arviz

    keys = rows.apply(labels, keep_missing=True).fillna("")
    columns = [str(name) for name in rows]
    names = keys["domain"] if keys["domain"].is_unique else joined_labels(keys, columns)
    terms = coefficients.index.get_level_values(-1).astype(str).unique().to_numpy()
    attributes = {"source": posterior.source, "prior": "; ".join(frame["prior"].unique())}
    return to_arviz(
        posterior.draw(n, number),
        names.to_numpy(dtype=str),
        _direct(frame),
        _sampled(frame),
        terms,
        attributes,
    )


def loo_table(posterior: Posterior, frame: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the leave-one-out predictive densities: see `Result.loo`."""
    elpd, k = posterior.loo()
    return rows[_sampled(frame)].assign(elpd=elpd, k=k)


def predictive_table(
    posterior: Posterior, frame: pd.DataFrame, n: int, seed: int | np.random.Generator | None
) -> pd.DataFrame:
    """Return the posterior predictive check: see `Result.predictive_check`."""
    check = predictive_check(posterior.draw(n, _seed("predictive_check", seed)), _direct(frame))
    names = ("observed", "low", "median", "high", "p_value")
    table = pd.DataFrame({name: getattr(check, name) for name in names})
    table.loc["outside"] = [check.outside, *[np.nan] * 4]
    return table


def _seed(verb: str, seed: int | np.random.Generator | None) -> int:
    if seed is None:
        raise SaeSpecError(f"{verb}(...) needs a seed.", hint=f"Call {verb}(seed=1), with any number.")
    return seed_of(seed)


def _sampled(frame: pd.DataFrame) -> np.ndarray:
    return frame["in_sample"].to_numpy(dtype=bool)


def _direct(frame: pd.DataFrame) -> np.ndarray:
    return frame["direct"].to_numpy(dtype=float)[_sampled(frame)]
