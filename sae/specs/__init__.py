"""What every specification shares: formulas, designs with remembered levels, TOML in and out."""

from sae.specs.base import Specification, one_of
from sae.specs.design import Design
from sae.specs.formula import split_formula
from sae.specs.terms import parse_terms

__all__ = ["Design", "Specification", "one_of", "parse_terms", "split_formula"]
