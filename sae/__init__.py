"""Small area estimation: from survey files to flagged, benchmarked, publishable tables.

Public names load on first use, so ``import sae`` itself stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sae._version import __version__ as __version__

# public name -> module that holds it
_PUBLIC = {
    "read_survey": "sae.survey",
    "Survey": "sae.survey",
    "Indicator": "sae.indicators",
    "catalogue": "sae.batch.catalogue",
    "direct": "sae.design_based",
    "combine": "sae.tables",
    "DirectEstimates": "sae.tables",
    "EstimateTable": "sae.tables",
    "FayHerriot": "sae.area_level",
    "MultivariateFayHerriot": "sae.area_level",
    "TwoFoldFayHerriot": "sae.area_level",
    "RobustFayHerriot": "sae.area_level",
    "MeasurementErrorFayHerriot": "sae.area_level",
    "BetaBinomialMixed": "sae.area_level",
    "BinomialMixed": "sae.area_level",
    "PoissonMixed": "sae.area_level",
    "BetaFayHerriot": "sae.area_level",
    "UnmatchedFayHerriot": "sae.area_level",
    "YouChapman": "sae.area_level",
    "StudentFayHerriot": "sae.area_level",
    "HorseshoeFayHerriot": "sae.area_level",
    "InflatedBetaFayHerriot": "sae.area_level",
    "EBP": "sae.unit_level",
    "LogitMixed": "sae.unit_level",
    "MQuantile": "sae.unit_level",
    "MultinomialMixed": "sae.unit_level",
    "NestedError": "sae.unit_level",
    "RobustNestedError": "sae.unit_level",
    "TwoFoldNestedError": "sae.unit_level",
    "SAR": "sae.area_level",
    "AR1": "sae.area_level",
    "BYM2": "sae.area_level",
    "Leroux": "sae.area_level",
    "CAR": "sae.area_level",
    "RW1": "sae.area_level",
    "RW2": "sae.area_level",
}
_ROOMS = {
    **{
        name: f"sae.{name}"
        for name in (
            "area_level",
            "auxiliary",
            "compare",
            "datasets",
            "design_based",
            "disclosure",
            "errors",
            "evaluation",
            "indicators",
            "planning",
            "plots",
            "publish",
            "quality",
            "survey",
            "unit_level",
        )
    },
    "priors": "sae.specs.priors",
}

__all__ = sorted([*_PUBLIC, *_ROOMS, "__version__"])

if TYPE_CHECKING:
    from sae import area_level as area_level
    from sae import auxiliary as auxiliary
    from sae import compare as compare
    from sae import datasets as datasets
    from sae import design_based as design_based
    from sae import disclosure as disclosure
    from sae import errors as errors
    from sae import evaluation as evaluation
    from sae import indicators as indicators
    from sae import planning as planning
    from sae import plots as plots
    from sae import publish as publish
    from sae import quality as quality
    from sae import survey as survey
    from sae import unit_level as unit_level
    from sae.area_level import AR1 as AR1
    from sae.area_level import BYM2 as BYM2
    from sae.area_level import CAR as CAR
    from sae.area_level import RW1 as RW1
    from sae.area_level import RW2 as RW2
    from sae.area_level import SAR as SAR
    from sae.area_level import BetaBinomialMixed as BetaBinomialMixed
    from sae.area_level import BetaFayHerriot as BetaFayHerriot
    from sae.area_level import BinomialMixed as BinomialMixed
    from sae.area_level import FayHerriot as FayHerriot
    from sae.area_level import HorseshoeFayHerriot as HorseshoeFayHerriot
    from sae.area_level import InflatedBetaFayHerriot as InflatedBetaFayHerriot
    from sae.area_level import Leroux as Leroux
    from sae.area_level import MeasurementErrorFayHerriot as MeasurementErrorFayHerriot
    from sae.area_level import MultivariateFayHerriot as MultivariateFayHerriot
    from sae.area_level import PoissonMixed as PoissonMixed
    from sae.area_level import RobustFayHerriot as RobustFayHerriot
    from sae.area_level import StudentFayHerriot as StudentFayHerriot
    from sae.area_level import TwoFoldFayHerriot as TwoFoldFayHerriot
    from sae.area_level import UnmatchedFayHerriot as UnmatchedFayHerriot
    from sae.area_level import YouChapman as YouChapman
    from sae.batch.catalogue import catalogue as catalogue
    from sae.design_based import direct as direct
    from sae.indicators import Indicator as Indicator
    from sae.specs import priors as priors
    from sae.survey import Survey as Survey
    from sae.survey import read_survey as read_survey
    from sae.tables import DirectEstimates as DirectEstimates
    from sae.tables import EstimateTable as EstimateTable
    from sae.tables import combine as combine
    from sae.unit_level import EBP as EBP
    from sae.unit_level import LogitMixed as LogitMixed
    from sae.unit_level import MQuantile as MQuantile
    from sae.unit_level import MultinomialMixed as MultinomialMixed
    from sae.unit_level import NestedError as NestedError
    from sae.unit_level import RobustNestedError as RobustNestedError
    from sae.unit_level import TwoFoldNestedError as TwoFoldNestedError
else:

    def __getattr__(name):
        if name in _PUBLIC:
            value = getattr(import_module(_PUBLIC[name]), name)
        elif name in _ROOMS:
            value = import_module(_ROOMS[name])
        else:
            from sae.calls import elsewhere

            raise AttributeError(f"module 'sae' has no attribute {name!r}; {elsewhere(name, __all__)}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
