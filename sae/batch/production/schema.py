"""The JSON schema of production files, made of the classes that read them."""

from __future__ import annotations

import json
from typing import Any

from sae.batch.kinds import KINDS, options
from sae.batch.production.sections import NO_MODELS, Contents
from sae.indicators import REGISTRY
from sae.quality.policy import policy_names
from sae.survey.layouts import layout_names

__all__ = ["production_schema", "production_schema_text"]


def production_schema() -> dict[str, Any]:
    """Return the JSON schema of a production file; it knows less than ``sae check``.

    Examples
    --------
    >>> from sae.batch.production.schema import production_schema
    >>> list(production_schema()["properties"])[:2]
    ['production', 'survey']
    """
    schema = Contents.model_json_schema()
    parts = schema["$defs"]
    rung = parts["RungSection"]
    for kind in KINDS:
        for name in options(kind):
            if name != "per":
                rung["properties"].setdefault(name, {"title": name})
    rung["properties"]["kind"]["enum"] = [*NO_MODELS, *KINDS]
    rung["additionalProperties"] = False
    names = {"anyOf": [{"enum": list(REGISTRY)}, {"type": "string"}]}
    indicators = parts["ProductionSection"]["properties"]["indicators"]
    several = {"type": "array", "items": names, "minItems": 1}
    parts["ProductionSection"]["properties"]["indicators"] = {
        "title": indicators["title"],
        "anyOf": [{"const": "core_set"}, names, several],
    }
    parts["SurveyEntry"]["properties"]["layout"]["anyOf"].insert(0, {"enum": list(layout_names())})
    parts["PublishTable"]["properties"]["policy"]["anyOf"].insert(0, {"enum": list(policy_names())})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def production_schema_text() -> str:
    """Return the schema as a file holds it: the same bytes every time."""
    return json.dumps(production_schema(), indent=2, ensure_ascii=False) + "\n"
