"""Functions on tables that return matplotlib figures; `save` writes them."""

from sae.plots.caterpillar_plot import caterpillar
from sae.plots.compare_plot import compare
from sae.plots.difference_plot import differences
from sae.plots.figures import save
from sae.plots.map_plot import area_map
from sae.plots.pair_plot import apart
from sae.plots.peer_plot import peers
from sae.plots.rank_plot import ranks
from sae.plots.residual_plots import qq, residuals

__all__ = [
    "apart",
    "area_map",
    "caterpillar",
    "compare",
    "differences",
    "peers",
    "qq",
    "ranks",
    "residuals",
    "save",
]
