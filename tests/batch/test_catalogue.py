"""The catalogue holds everything that comes with the package, and a page of each."""

import pytest

import sae
from sae.batch.catalogue import page
from sae.batch.models import shipped_models, shipped_plans
from sae.errors import SaeInputError
from sae.indicators import BREAKS, REGISTRY
from sae.survey import VARIABLES, layout_names
from sae.survey.expressions import names_in


def test_everything_is_listed_once():
    table = sae.catalogue()
    names = {kind: rows["name"].tolist() for kind, rows in table.groupby("kind")}
    assert names["indicator"] == list(REGISTRY) and names["break"] == list(BREAKS)
    assert names["layout"] == layout_names()
    assert names["model"] == list(shipped_models()) and names["plan"] == list(shipped_plans())
    assert len(names["covariate"]) > 20
    assert not table.duplicated(["kind", "name"]).any()
    assert (table[["title", "state"]] != "").all(axis=None)
    states = table["state"].str.partition(":")[0]
    assert set(states) == {"verified", "remembered", "ready"}


def test_every_entry_has_a_page():
    for name in sae.catalogue()["name"].unique():
        lines = page(name).splitlines()
        assert len(lines) >= 1 and (name in lines[0] or lines[0].startswith(("title", "#"))), name


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(SaeInputError, match="Did you mean employment_rate"):
        page("employment_rte")


def test_indicators_speak_of_harmonised_variables_only():
    """Codes belong to layouts: every name in a definition of a survey is on the one list, levels too."""
    for indicator in REGISTRY.values():
        if indicator.kind in ("register_rate", "segregation"):
            continue
        names = {name for part in indicator.parts for name in names_in(part)}
        assert names <= set(VARIABLES), indicator.id


def test_every_model_says_which_indicator_it_estimates():
    table = sae.catalogue()
    models = table[table["kind"] == "model"]
    assert (models["version"] != "").all()
    known = set(layout_names()) | {""}
    assert set(models["source"]) <= known
