"""What is known about the areas besides the survey: covariates, registers, codes, Eurostat's tables, maps."""

from sae.auxiliary.areas import AreaFile, code_numbers, open_areas, read_areas
from sae.auxiliary.codes import AreaCode, area_code, area_codes
from sae.auxiliary.crosswalks import crosswalk
from sae.auxiliary.eurostat import EurostatTable
from sae.auxiliary.eurostat_areas import areas_from_eurostat
from sae.auxiliary.eurostat_cities import CITY_VARIABLES, city_covariates
from sae.auxiliary.eurostat_estimates import estimates_as_eurostat, fill_eurostat
from sae.auxiliary.eurostat_files import read_eurostat, write_eurostat
from sae.auxiliary.grid import cell_shares, grid_cells, raster_cells
from sae.auxiliary.groups import group_covariates
from sae.auxiliary.hierarchy import check_totals, compare_totals, regroup
from sae.auxiliary.known_covariates import covariate_page, covariates
from sae.auxiliary.neighbours import Neighbours, neighbours, read_neighbours
from sae.auxiliary.nuts import NUTS_VINTAGES, NutsVintage, nuts_in_force, nuts_vintage
from sae.auxiliary.population import read_population
from sae.auxiliary.registers import Register, read_register
from sae.auxiliary.shares import counts, shares
from sae.tables import Covariates, Origin

__all__ = [
    "CITY_VARIABLES",
    "NUTS_VINTAGES",
    "AreaCode",
    "AreaFile",
    "Covariates",
    "EurostatTable",
    "Neighbours",
    "NutsVintage",
    "Origin",
    "Register",
    "area_code",
    "area_codes",
    "areas_from_eurostat",
    "cell_shares",
    "check_totals",
    "city_covariates",
    "code_numbers",
    "compare_totals",
    "counts",
    "covariate_page",
    "covariates",
    "crosswalk",
    "estimates_as_eurostat",
    "fill_eurostat",
    "grid_cells",
    "group_covariates",
    "neighbours",
    "nuts_in_force",
    "nuts_vintage",
    "open_areas",
    "raster_cells",
    "read_areas",
    "read_eurostat",
    "read_neighbours",
    "read_population",
    "read_register",
    "regroup",
    "shares",
    "write_eurostat",
]
