"""Small area estimation: from survey files to flagged, benchmarked, publishable tables.

Public names load on first use, so ``import sae`` itself stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> module that holds it
_PUBLIC = {
    "read_survey": "sae.survey",
    "Survey": "sae.survey",
    "Indicator": "sae.indicators",
    "direct": "sae.design_based",
    "DirectEstimates": "sae.tables",
    "EstimateTable": "sae.tables",
    "FayHerriot": "sae.area_level",
    "MultivariateFayHerriot": "sae.area_level",
    "TwoFoldFayHerriot": "sae.area_level",
    "SAR": "sae.area_level",
    "AR1": "sae.area_level",
}
_ROOMS = {
    **{
        name: f"sae.{name}"
        for name in (
            "area_level", "auxiliary", "datasets", "design_based", "errors", "indicators", "plots", "quality",
            "unit_level",
        )
    },
    "priors": "sae.specs.priors",
}  # fmt: skip

__all__ = sorted([*_PUBLIC, *_ROOMS, "__version__"])

if TYPE_CHECKING:
    from sae.area_level import AR1 as AR1
    from sae.area_level import SAR as SAR
    from sae.area_level import FayHerriot as FayHerriot
    from sae.area_level import MultivariateFayHerriot as MultivariateFayHerriot
    from sae.area_level import TwoFoldFayHerriot as TwoFoldFayHerriot
    from sae.design_based import direct as direct
    from sae.indicators import Indicator as Indicator
    from sae.survey import Survey as Survey
    from sae.survey import read_survey as read_survey
    from sae.tables import DirectEstimates as DirectEstimates
    from sae.tables import EstimateTable as EstimateTable


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
    elif name in _ROOMS:
        value = import_module(_ROOMS[name])
    else:
        raise AttributeError(f"module 'sae' has no attribute {name!r}; it offers {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
