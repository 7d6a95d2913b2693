"""Area-level models: one row per area, a direct estimate and its sampling variance."""

from sae.area_level.beta import BetaFayHerriot
from sae.area_level.beta_binomial import BetaBinomialMixed
from sae.area_level.binomial import BinomialMixed
from sae.area_level.fay_herriot import FayHerriot
from sae.area_level.horseshoe import HorseshoeFayHerriot
from sae.area_level.inflated_beta import InflatedBetaFayHerriot
from sae.area_level.measurement_error import MeasurementErrorFayHerriot
from sae.area_level.multivariate import MultivariateFayHerriot
from sae.area_level.poisson import PoissonMixed
from sae.area_level.robust import RobustFayHerriot
from sae.area_level.selection import Selection, criteria_table, select
from sae.area_level.structure import AR1, BYM2, CAR, RW1, RW2, SAR, Leroux
from sae.area_level.structure_change import change
from sae.area_level.student import StudentFayHerriot
from sae.area_level.twofold import TwoFoldFayHerriot
from sae.area_level.unmatched import UnmatchedFayHerriot
from sae.area_level.you_chapman import YouChapman

__all__ = [
    "AR1",
    "BYM2",
    "CAR",
    "RW1",
    "RW2",
    "SAR",
    "BetaBinomialMixed",
    "BetaFayHerriot",
    "BinomialMixed",
    "FayHerriot",
    "HorseshoeFayHerriot",
    "InflatedBetaFayHerriot",
    "Leroux",
    "MeasurementErrorFayHerriot",
    "MultivariateFayHerriot",
    "PoissonMixed",
    "RobustFayHerriot",
    "Selection",
    "StudentFayHerriot",
    "TwoFoldFayHerriot",
    "UnmatchedFayHerriot",
    "YouChapman",
    "change",
    "criteria_table",
    "select",
]
