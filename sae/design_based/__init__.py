"""What the survey says of each domain by itself, and the indirect estimators that need no model of areas."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.design_based.composite_estimation import composite as composite
    from sae.design_based.composite_estimation import ssd as ssd
    from sae.design_based.direct_blocks import direct_from_blocks as direct_from_blocks
    from sae.design_based.direct_estimation import direct as direct
    from sae.design_based.published import read_direct as read_direct
    from sae.design_based.structure_preserving import gspree as gspree
    from sae.design_based.structure_preserving import spree as spree
    from sae.design_based.synthetic_estimation import synthetic as synthetic
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "composite_estimation": ["composite", "ssd"],
            "direct_blocks": ["direct_from_blocks"],
            "direct_estimation": ["direct"],
            "published": ["read_direct"],
            "structure_preserving": ["gspree", "spree"],
            "synthetic_estimation": ["synthetic"],
        },
    )
