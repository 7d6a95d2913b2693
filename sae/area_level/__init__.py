"""Area-level models: one row per area, a direct estimate and its sampling variance."""

from sae.area_level.fay_herriot import FayHerriot
from sae.area_level.multivariate import MultivariateFayHerriot
from sae.area_level.selection import Selection, criteria_table, select
from sae.area_level.structure import AR1, SAR
from sae.area_level.structure_change import change
from sae.area_level.twofold import TwoFoldFayHerriot

__all__ = [
    "AR1",
    "SAR",
    "FayHerriot",
    "MultivariateFayHerriot",
    "Selection",
    "TwoFoldFayHerriot",
    "change",
    "criteria_table",
    "select",
]
