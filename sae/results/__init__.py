"""What every fitted result shares: estimates, provenance, summary, benchmark, aggregate, draws, plots."""

from sae.results.draws import Draws, DrawSource, NormalDraws, PosteriorDraws
from sae.results.posterior import (
    compressed,
    parameter_columns,
    posterior_joint,
    posterior_result,
    weighted_summary,
)
from sae.results.result import Result

__all__ = [
    "DrawSource",
    "Draws",
    "NormalDraws",
    "PosteriorDraws",
    "Result",
    "compressed",
    "parameter_columns",
    "posterior_joint",
    "posterior_result",
    "weighted_summary",
]
