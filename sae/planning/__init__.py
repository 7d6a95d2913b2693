"""What to sample, where, at what price: precision rules, allocations, and what they reach."""

from typing import TYPE_CHECKING

from sae.errors import SaeSpecError
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
from sae.planning.reporting.details import ReportDetails
from sae.planning.reporting.report import Report, report
from sae.planning.with_model.confirmation import confirm, national_check
from sae.planning.with_model.oversampling import oversample
from sae.planning.with_model.plan import OversamplePlan
from sae.planning.with_model.tradeoffs import best_covariates, best_interviews, frontier, interview_value

__all__ = [
    "CV",
    "RMSE",
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
    "ReportDetails",
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

if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name):
        if name == "About":
            raise SaeSpecError("sae.planning.About has a new name.", hint="Use sae.planning.ReportDetails.")
        raise AttributeError(f"module 'sae.planning' has no attribute {name!r}; it has {', '.join(__all__)}")
