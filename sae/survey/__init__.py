"""Surveys: records with weights, strata, sampling units and replicate weights; readers and layouts."""

from sae.survey.calibration import Calibration
from sae.survey.design import Stage
from sae.survey.layouts import layout_names
from sae.survey.readers import read_survey
from sae.survey.replicates import Replicates
from sae.survey.survey import Survey

__all__ = ["Calibration", "Replicates", "Stage", "Survey", "layout_names", "read_survey"]
