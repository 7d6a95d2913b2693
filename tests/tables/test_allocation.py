"""The allocation table: fixed columns, dtypes, totals, refusal of what it has no place for."""

import pandas as pd
import pytest

from sae.errors import SaeInputError
from sae.planning import CV, Target, allocate
from sae.tables import ALLOCATION_COLUMNS, TARGET_COLUMNS, Allocation

FRAME = pd.DataFrame(
    {"stratum": ["a", "b"], "population": [5000, 800], "city": ["X", "Y"], "share_rate": [0.4, 0.3]}
)


@pytest.fixture(scope="module")
def plan():
    return allocate(FRAME, Target("rate", CV(0.1), by="city"))


def test_columns_and_totals(plan):
    assert set(ALLOCATION_COLUMNS) < set(plan.frame) and list(plan.targets) == list(TARGET_COLUMNS)
    assert list(plan.frame)[:2] == ["stratum", "city"] and list(plan.frame)[-2:] == ["sd_rate", "cv_rate"]
    assert str(plan["n"].dtype) == "Int64" and str(plan.targets["met"].dtype) == "boolean"
    assert plan.total == plan["n"].sum() and plan.cost == plan.total
    assert plan["n_now"].isna().all() and plan["extra"].isna().all()
    assert "2 of 2 targets met" in repr(plan) and "<table" in plan._repr_html_()


def test_frozen_and_replaced(plan):
    with pytest.raises(AttributeError):
        plan.method = "other"
    other = plan.assign_targets(model_cv=0.05)
    assert (other.targets["model_cv"] == 0.05).all() and plan.targets["model_cv"].isna().all()
    copy = plan.to_frame()
    copy["n"] = 0
    assert plan.total > 0


def test_writes(plan, tmp_path):
    path = plan.write(tmp_path / "plan.csv")
    assert pd.read_csv(path)["n"].tolist() == plan["n"].tolist()


def test_refuses_what_it_has_no_place_for(plan):
    with pytest.raises(SaeInputError, match="allocation has no column 'n'"):
        Allocation(plan.frame.drop(columns="n"), plan.targets)
    with pytest.raises(SaeInputError, match="no place for colour"):
        Allocation(plan.frame, plan.targets.assign(colour=1))
