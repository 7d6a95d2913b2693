"""Functions on tables that return matplotlib figures; `save` writes them."""

from sae.plots.area_map import area_map
from sae.plots.caterpillar import caterpillar
from sae.plots.compare import compare
from sae.plots.figures import save
from sae.plots.residuals import qq, residuals

__all__ = ["area_map", "caterpillar", "compare", "qq", "residuals", "save"]
