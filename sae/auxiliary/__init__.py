"""What is known about the areas besides the survey: covariate tables and neighbours."""

from sae.auxiliary.areas import AreaFile, open_areas, read_areas
from sae.auxiliary.neighbours import Neighbours, neighbours, read_neighbours

__all__ = ["AreaFile", "Neighbours", "neighbours", "open_areas", "read_areas", "read_neighbours"]
