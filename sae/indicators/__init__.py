"""The definition registry: what each indicator counts, over whom, in which version."""

from sae.indicators.definition import Indicator
from sae.indicators.evaluate import IndicatorArrays, arrays, item_nonresponse, resolve
from sae.indicators.registry import catalogue

__all__ = ["Indicator", "IndicatorArrays", "arrays", "catalogue", "item_nonresponse", "resolve"]
