"""A synthetic country with a known truth: population, years, samples, panels, files, registers, map."""

from sae.datasets.drawing import countries, country, lfs_like, lfs_like_areas
from sae.datasets.files import write_lfs, write_silc
from sae.datasets.household_rows import households
from sae.datasets.panels import lfs_panel, silc_panel
from sae.datasets.synthetic_country import Country

__all__ = [
    "Country",
    "countries",
    "country",
    "households",
    "lfs_like",
    "lfs_like_areas",
    "lfs_panel",
    "silc_panel",
    "write_lfs",
    "write_silc",
]
