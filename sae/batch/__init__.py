"""Model files, and running them: from survey records and areas to a folder of flagged tables."""

from sae.batch.models import find_spec, locate, shipped_models
from sae.batch.spec import ModelFile, read_spec

__all__ = ["ModelFile", "find_spec", "locate", "read_spec", "shipped_models"]
