"""Surveys: records with weights, strata, sampling units and replicate weights; readers and layouts."""

from sae.survey.calibration import Calibration
from sae.survey.design import Stage
from sae.survey.layout_pages import layout_page, layouts
from sae.survey.layouts import layout_names
from sae.survey.pooling import Overlap, pool_periods
from sae.survey.readers import read_survey
from sae.survey.release import Release
from sae.survey.replicates import Replicates
from sae.survey.silc import read_silc
from sae.survey.silc_longitudinal import read_silc_longitudinal
from sae.survey.silc_variables import modified_oecd_scale
from sae.survey.survey import Survey
from sae.survey.variables import VARIABLES, Variable

__all__ = [
    "VARIABLES",
    "Calibration",
    "Overlap",
    "Release",
    "Replicates",
    "Stage",
    "Survey",
    "Variable",
    "layout_names",
    "layout_page",
    "layouts",
    "modified_oecd_scale",
    "pool_periods",
    "read_silc",
    "read_silc_longitudinal",
    "read_survey",
]
