"""What the survey says of each domain by itself, and the indirect estimators that need no model of areas."""

from sae.design_based.composite_estimation import composite, ssd
from sae.design_based.direct_estimation import direct
from sae.design_based.structure_preserving import gspree, spree
from sae.design_based.synthetic_estimation import synthetic

__all__ = ["composite", "direct", "gspree", "spree", "ssd", "synthetic"]
