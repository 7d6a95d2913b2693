"""Area-level models: one row per area, a direct estimate and its sampling variance."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.area_level.effects.spatial import BYM2 as BYM2
    from sae.area_level.effects.spatial import CAR as CAR
    from sae.area_level.effects.spatial import SAR as SAR
    from sae.area_level.effects.spatial import Leroux as Leroux
    from sae.area_level.effects.temporal import AR1 as AR1
    from sae.area_level.effects.temporal import RW1 as RW1
    from sae.area_level.effects.temporal import RW2 as RW2
    from sae.area_level.fay_herriot.model import FayHerriot as FayHerriot
    from sae.area_level.fay_herriot.selection import Selection as Selection
    from sae.area_level.fay_herriot.selection import criteria_table as criteria_table
    from sae.area_level.fay_herriot.selection import select as select
    from sae.area_level.glmm.beta import BetaFayHerriot as BetaFayHerriot
    from sae.area_level.glmm.beta_binomial import BetaBinomialMixed as BetaBinomialMixed
    from sae.area_level.glmm.binomial import BinomialMixed as BinomialMixed
    from sae.area_level.glmm.inflated_beta import InflatedBetaFayHerriot as InflatedBetaFayHerriot
    from sae.area_level.glmm.poisson import PoissonMixed as PoissonMixed
    from sae.area_level.glmm.unmatched import UnmatchedFayHerriot as UnmatchedFayHerriot
    from sae.area_level.glmm.you_chapman import YouChapman as YouChapman
    from sae.area_level.measurement_error.model import (
        MeasurementErrorFayHerriot as MeasurementErrorFayHerriot,
    )
    from sae.area_level.multivariate.model import MultivariateFayHerriot as MultivariateFayHerriot
    from sae.area_level.robust.model import RobustFayHerriot as RobustFayHerriot
    from sae.area_level.scale_mixtures.horseshoe import HorseshoeFayHerriot as HorseshoeFayHerriot
    from sae.area_level.scale_mixtures.student import StudentFayHerriot as StudentFayHerriot
    from sae.area_level.two_fold import TwoFoldFayHerriot as TwoFoldFayHerriot
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "effects.spatial": ["BYM2", "CAR", "SAR", "Leroux"],
            "effects.temporal": ["AR1", "RW1", "RW2"],
            "fay_herriot.model": ["FayHerriot"],
            "fay_herriot.selection": ["Selection", "criteria_table", "select"],
            "glmm.beta": ["BetaFayHerriot"],
            "glmm.beta_binomial": ["BetaBinomialMixed"],
            "glmm.binomial": ["BinomialMixed"],
            "glmm.inflated_beta": ["InflatedBetaFayHerriot"],
            "glmm.poisson": ["PoissonMixed"],
            "glmm.unmatched": ["UnmatchedFayHerriot"],
            "glmm.you_chapman": ["YouChapman"],
            "measurement_error.model": ["MeasurementErrorFayHerriot"],
            "multivariate.model": ["MultivariateFayHerriot"],
            "robust.model": ["RobustFayHerriot"],
            "scale_mixtures.horseshoe": ["HorseshoeFayHerriot"],
            "scale_mixtures.student": ["StudentFayHerriot"],
            "two_fold": ["TwoFoldFayHerriot"],
        },
        {"change": "sae.compare.changes(fit, first, last), whose column is `estimate`"},
    )
