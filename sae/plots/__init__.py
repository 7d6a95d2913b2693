"""Functions on tables that return matplotlib figures; `save` writes them."""

from sae.plots.caterpillar_plot import caterpillar
from sae.plots.compare_plot import compare
from sae.plots.figures import save
from sae.plots.map_plot import area_map
from sae.plots.residual_plots import qq, residuals

__all__ = ["area_map", "caterpillar", "compare", "qq", "residuals", "save"]
