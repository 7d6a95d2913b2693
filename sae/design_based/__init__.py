"""Direct estimates from the survey alone, with their design-based variances."""

from sae.design_based.direct import direct

__all__ = ["direct"]
