"""What to sample, where, at what price: precision rules, allocations, and what they reach."""

from sae.planning.allocate import allocate
from sae.planning.confirm import confirm, national_check
from sae.planning.methods import (
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
from sae.planning.oversample import oversample
from sae.planning.oversample_plan import OversamplePlan
from sae.planning.precision import CV, RMSE, EffectiveSize, HalfWidth, Published, Regulation, Target
from sae.planning.report import Report, report
from sae.planning.report_table import About
from sae.planning.tradeoffs import best_covariates, best_interviews, frontier, interview_value
from sae.planning.two_stage import TwoStage

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
