"""The definition registry: what each indicator counts, over whom, in which version."""

from sae.indicators.admission import check_accept, check_admitted, check_domains, crossed_breaks
from sae.indicators.breaks import BREAKS, Break, break_marks
from sae.indicators.definition import Indicator
from sae.indicators.evaluate import (
    IndicatorArrays,
    arrays,
    block_arrays,
    item_nonresponse,
    unchecked_arrays,
)
from sae.indicators.parts import BlockReading
from sae.indicators.registers import register_rate
from sae.indicators.registry import REGISTRY, catalogue
from sae.indicators.resolving import resolve
from sae.indicators.segregation import segregation

__all__ = [
    "BREAKS",
    "REGISTRY",
    "BlockReading",
    "Break",
    "Indicator",
    "IndicatorArrays",
    "arrays",
    "block_arrays",
    "break_marks",
    "catalogue",
    "check_accept",
    "check_admitted",
    "check_domains",
    "crossed_breaks",
    "item_nonresponse",
    "register_rate",
    "resolve",
    "segregation",
    "unchecked_arrays",
]
