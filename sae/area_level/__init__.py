"""Area-level models: one row per area, a direct estimate and its sampling variance."""

from sae.area_level.fay_herriot import FayHerriot

__all__ = ["FayHerriot"]
