"""The JSON schema of model files and planning files, made of the classes that read them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sae.batch.kinds import KINDS, UNIT_KINDS, options
from sae.batch.planning_sections import Contents as PlanContents
from sae.batch.sections import Contents
from sae.indicators import REGISTRY
from sae.quality.policy import policy_names
from sae.survey.layouts import layout_names

__all__ = ["json_schema", "schema_text"]


def json_schema(*, plan: bool = False) -> dict[str, Any]:
    """Return the JSON schema of a model file, or of a planning file.

    An editor that has it completes the tables, the keys and the names of layouts, indicators, policies and
    kinds of models. It knows less than ``sae check``: not which keys go together.

    Parameters
    ----------
    plan : bool
        Of planning files.

    Examples
    --------
    >>> schema = json_schema()
    >>> list(schema["properties"])[:4]
    ['title', 'survey', 'direct', 'areas']
    >>> "fay_herriot" in schema["$defs"]["ModelSection"]["properties"]["kind"]["enum"]
    True
    """
    schema = (PlanContents if plan else Contents).model_json_schema()
    parts = schema["$defs"]
    model = parts["ModelSection"]
    kinds = [*KINDS, *UNIT_KINDS]
    for kind in KINDS if plan else kinds:
        for name in options(kind):
            of = model["properties"].setdefault(name, {"title": name, "description": "Of the kinds:"})
            if of.get("description", "").startswith("Of the kinds:"):
                of["description"] += f" {kind}"
    model["properties"]["kind"]["enum"] = list(KINDS) if plan else kinds
    model["additionalProperties"] = False
    _suggest(parts["SurveySection"]["properties"]["layout"], layout_names())
    _suggest(parts["PublishSection"]["properties"]["policy"], policy_names())
    _suggest(parts["EstimateSection"]["properties"]["indicator"], REGISTRY)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text(*, plan: bool = False) -> str:
    """Return the schema as a file holds it: the same bytes every time."""
    return json.dumps(json_schema(plan=plan), indent=2, ensure_ascii=False) + "\n"


def _suggest(part: dict[str, Any], names: Iterable[str]) -> None:
    """Let an editor offer known names where any text may stand."""
    choices = part["anyOf"] if "anyOf" in part else part["oneOf"]
    choices.insert(0, {"enum": list(names)})
    if "oneOf" in part:  # a known name is a text too: any of them
        part["anyOf"] = part.pop("oneOf")
