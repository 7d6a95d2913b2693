"""What only a posterior can tell of a fit: draws for ArviZ, leave-one-out, predictive checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError
from sae.numerics.random.streams import seed_of
from sae.results.draws import PosteriorDraws
from sae.samplers import Posterior
from sae.samplers.checks import predictive_check

if TYPE_CHECKING:
    from sae.results.result import Result

__all__ = ["arviz_of", "loo_table", "predictive_table"]


def arviz_of(result: Result, n: int, seed: int | np.random.Generator | None) -> Any:
    """Return n joint draws as ArviZ knows them: see `Result.to_arviz`."""
    posterior, number = _posterior(result, "to_arviz"), _seed("to_arviz", seed)
    if n < 16 or n % 4:
        raise SaeSpecError(f"n = {n}: ArviZ gets 4 chains, so that n is a multiple of 4, at least 16.")
    from sae.samplers.arviz import to_arviz

    keys = result.row_names().astype("string").fillna("")
    labels = keys["domain"] if keys["domain"].is_unique else keys.agg(" / ".join, axis=1)
    terms = result.coefficients.index.get_level_values(-1).astype(str).unique().to_numpy()
    attributes = {"source": posterior.source, "prior": "; ".join(result.estimates.frame["prior"].unique())}
    sampled = _sampled(result)
    return to_arviz(
        posterior.draw(n, number), labels.to_numpy(dtype=str), _direct(result), sampled, terms, attributes
    )


def loo_table(result: Result) -> pd.DataFrame:
    """Return the leave-one-out predictive densities: see `Result.loo`."""
    elpd, k = _posterior(result, "loo").loo()
    return result.row_names()[_sampled(result)].assign(elpd=elpd, k=k)


def predictive_table(result: Result, n: int, seed: int | np.random.Generator | None) -> pd.DataFrame:
    """Return the posterior predictive check: see `Result.predictive_check`."""
    posterior, number = _posterior(result, "predictive_check"), _seed("predictive_check", seed)
    check = predictive_check(posterior.draw(n, number), _direct(result))
    names = ("observed", "low", "median", "high", "p_value")
    table = pd.DataFrame({name: getattr(check, name) for name in names})
    table.loc["outside"] = [check.outside, *[np.nan] * 4]
    return table


def _posterior(result: Result, verb: str) -> Posterior:
    if not isinstance(result.source, PosteriorDraws):
        raise SaeSpecError(f"{verb}() needs a posterior; this fit has none.", hint='Fit with method="bayes".')
    if result.benchmarks:
        raise SaeSpecError(
            f"{verb}() is about the posterior of the model; this result was benchmarked after it.",
            hint="Call it before benchmark(), or take draws() of the benchmarked result.",
        )
    return result.source.posterior


def _seed(verb: str, seed: int | np.random.Generator | None) -> int:
    if seed is None:
        raise SaeSpecError(f"{verb}(...) needs a seed.", hint=f"Call {verb}(seed=1), with any number.")
    return seed_of(seed)


def _sampled(result: Result) -> np.ndarray:
    return result.estimates.frame["in_sample"].to_numpy(dtype=bool)


def _direct(result: Result) -> np.ndarray:
    return result.estimates.frame["direct"].to_numpy(dtype=float)[_sampled(result)]
