"""The definition registry: what each indicator counts, over whom, in which version."""

from sae.indicators.definition import Indicator
from sae.indicators.evaluate import IndicatorArrays, arrays, resolve
from sae.indicators.registry import catalogue

__all__ = ["Indicator", "IndicatorArrays", "arrays", "catalogue", "resolve"]
