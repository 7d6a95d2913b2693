"""What to sample, where, at what price: precision rules, allocations, and what they reach."""

from typing import TYPE_CHECKING

from sae.errors import SaeSpecError
from sae.lazy import public

if TYPE_CHECKING:
    from sae.planning.direct.allocating import allocate as allocate
    from sae.planning.direct.methods import Costa as Costa
    from sae.planning.direct.methods import CostOptimal as CostOptimal
    from sae.planning.direct.methods import Density as Density
    from sae.planning.direct.methods import Equal as Equal
    from sae.planning.direct.methods import Longford as Longford
    from sae.planning.direct.methods import MolefeClark as MolefeClark
    from sae.planning.direct.methods import Neyman as Neyman
    from sae.planning.direct.methods import Power as Power
    from sae.planning.direct.methods import Proportional as Proportional
    from sae.planning.direct.two_stage import TwoStage as TwoStage
    from sae.planning.precision import CV as CV
    from sae.planning.precision import RMSE as RMSE
    from sae.planning.precision import EffectiveSize as EffectiveSize
    from sae.planning.precision import HalfWidth as HalfWidth
    from sae.planning.precision import Published as Published
    from sae.planning.precision import Regulation as Regulation
    from sae.planning.precision import Target as Target
    from sae.planning.reporting.details import ReportDetails as ReportDetails
    from sae.planning.reporting.report import Report as Report
    from sae.planning.reporting.report import report as report
    from sae.planning.with_model.confirmation import confirm as confirm
    from sae.planning.with_model.confirmation import national_check as national_check
    from sae.planning.with_model.oversampling import oversample as oversample
    from sae.planning.with_model.plan import OversamplePlan as OversamplePlan
    from sae.planning.with_model.tradeoffs import best_covariates as best_covariates
    from sae.planning.with_model.tradeoffs import best_interviews as best_interviews
    from sae.planning.with_model.tradeoffs import frontier as frontier
    from sae.planning.with_model.tradeoffs import interview_value as interview_value
else:
    __all__, _load, __dir__ = public(
        __name__,
        {
            "direct.allocating": ["allocate"],
            "direct.methods": [
                "Costa",
                "CostOptimal",
                "Density",
                "Equal",
                "Longford",
                "MolefeClark",
                "Neyman",
                "Power",
                "Proportional",
            ],
            "direct.two_stage": ["TwoStage"],
            "precision": ["CV", "RMSE", "EffectiveSize", "HalfWidth", "Published", "Regulation", "Target"],
            "reporting.details": ["ReportDetails"],
            "reporting.report": ["Report", "report"],
            "with_model.confirmation": ["confirm", "national_check"],
            "with_model.oversampling": ["oversample"],
            "with_model.plan": ["OversamplePlan"],
            "with_model.tradeoffs": ["best_covariates", "best_interviews", "frontier", "interview_value"],
        },
    )

    def __getattr__(name):
        if name == "About":
            raise SaeSpecError("sae.planning.About has a new name.", hint="Use sae.planning.ReportDetails.")
        return _load(name)
