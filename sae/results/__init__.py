"""What every fitted result shares: estimates, provenance, summary, benchmark, aggregate, draws, plots."""

from sae.results.draws import Draws, NormalDraws
from sae.results.result import Result

__all__ = ["Draws", "NormalDraws", "Result"]
