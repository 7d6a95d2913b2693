"""All frozen cases: name to `Case`, gathered from the files beside this one.

A case is a short call of the public surface (`sae.X`, `sae.room.X`, the `sae` command) on data made from a
fixed seed. Nothing here imports from below a room, so that the same file runs before and after modules move.
"""

import cases_area
import cases_bayes
import cases_plan
import cases_survey
from registry import CASES, Case

__all__ = ["CASES", "Case", "cases_area", "cases_bayes", "cases_plan", "cases_survey"]
