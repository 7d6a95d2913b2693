"""What to sample, where, at what price: precision rules, allocations, and what they reach."""

from sae.planning.direct.allocating import allocate
from sae.planning.direct.methods import (
    Costa,
    CostOptimal,
    Density,
    Equal,
    Longford,
    MolefeClark,
    Neyman,
    Power,
    Proportional,
)
from sae.planning.direct.two_stage import TwoStage
from sae.planning.precision import CV, RMSE, EffectiveSize, HalfWidth, Published, Regulation, Target
from sae.planning.reporting.report import Report, report
from sae.planning.reporting.tables import About
from sae.planning.with_model.confirmation import confirm, national_check
from sae.planning.with_model.oversampling import oversample
from sae.planning.with_model.plan import OversamplePlan
from sae.planning.with_model.tradeoffs import best_covariates, best_interviews, frontier, interview_value

__all__ = [
    "CV",
    "RMSE",
    "About",
    "CostOptimal",
    "Costa",
    "Density",
    "EffectiveSize",
    "Equal",
    "HalfWidth",
    "Longford",
    "MolefeClark",
    "Neyman",
    "OversamplePlan",
    "Power",
    "Proportional",
    "Published",
    "Regulation",
    "Report",
    "Target",
    "TwoStage",
    "allocate",
    "best_covariates",
    "best_interviews",
    "confirm",
    "frontier",
    "interview_value",
    "national_check",
    "oversample",
    "report",
]
