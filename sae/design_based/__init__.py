"""What the survey says of each domain by itself, and the indirect estimators that need no model of areas."""

from sae.design_based.composite import composite, ssd
from sae.design_based.direct import direct
from sae.design_based.spree import gspree, spree
from sae.design_based.synthetic import synthetic

__all__ = ["composite", "direct", "gspree", "spree", "ssd", "synthetic"]
