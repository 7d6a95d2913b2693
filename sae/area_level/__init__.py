"""Area-level models: one row per area, a direct estimate and its sampling variance."""

from sae.area_level.effects.spatial import BYM2, CAR, SAR, Leroux
from sae.area_level.effects.temporal import AR1, RW1, RW2
from sae.area_level.fay_herriot.change import change
from sae.area_level.fay_herriot.model import FayHerriot
from sae.area_level.fay_herriot.selection import Selection, criteria_table, select
from sae.area_level.glmm.beta import BetaFayHerriot
from sae.area_level.glmm.beta_binomial import BetaBinomialMixed
from sae.area_level.glmm.binomial import BinomialMixed
from sae.area_level.glmm.inflated_beta import InflatedBetaFayHerriot
from sae.area_level.glmm.poisson import PoissonMixed
from sae.area_level.glmm.unmatched import UnmatchedFayHerriot
from sae.area_level.glmm.you_chapman import YouChapman
from sae.area_level.measurement_error.model import MeasurementErrorFayHerriot
from sae.area_level.multivariate.model import MultivariateFayHerriot
from sae.area_level.robust.model import RobustFayHerriot
from sae.area_level.scale_mixtures.horseshoe import HorseshoeFayHerriot
from sae.area_level.scale_mixtures.student import StudentFayHerriot
from sae.area_level.two_fold import TwoFoldFayHerriot

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
