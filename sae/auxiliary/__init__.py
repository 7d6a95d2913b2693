"""What is known about the areas besides the survey: covariate tables and neighbours."""

from sae.auxiliary.areas import AreaFile, code_numbers, open_areas, read_areas
from sae.auxiliary.neighbours import Neighbours, neighbours, read_neighbours

__all__ = [
    "AreaFile",
    "Neighbours",
    "code_numbers",
    "neighbours",
    "open_areas",
    "read_areas",
    "read_neighbours",
]
