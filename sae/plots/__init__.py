"""Functions on tables that return matplotlib figures; `save` writes them."""

from sae.plots.caterpillar_plot import caterpillar
from sae.plots.comparability_plot import comparability
from sae.plots.compare_plot import compare
from sae.plots.difference_plot import differences
from sae.plots.map_plot import area_map
from sae.plots.pair_plot import apart
from sae.plots.peer_plot import peers
from sae.plots.profile_plot import profile
from sae.plots.rank_plot import ranks
from sae.plots.residual_plots import influence, qq, residuals
from sae.plots.saving import save
from sae.plots.segregation_plot import segregation
from sae.plots.series_plot import series

__all__ = [
    "apart",
    "area_map",
    "caterpillar",
    "comparability",
    "compare",
    "differences",
    "influence",
    "peers",
    "profile",
    "qq",
    "ranks",
    "residuals",
    "save",
    "segregation",
    "series",
]
