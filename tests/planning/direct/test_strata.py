"""The frame of strata: one vocabulary for plans with and without a model, refusals by name."""

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError
from sae.planning import CV, Target, allocate
from sae.planning.direct.strata import COUNT, LIMIT, RATE, TODAY, StrataFrame

FRAME = pd.DataFrame({"stratum": ["a", "b"], "population": [9_000, 4_000], "share_rate": [0.4, 0.6]})


def test_the_column_of_the_indicator_comes_before_the_one_for_all():
    strata = StrataFrame.of_strata(FRAME.assign(deff=1.5, deff_rate=2.0, sd=0.3))
    assert strata.deff_of("rate").tolist() == [2.0, 2.0]
    assert strata.deff_of("other").tolist() == [1.5, 1.5]
    assert strata.moments("rate").sd.tolist() == [0.3, 0.3]
    assert StrataFrame.of_strata(FRAME).deff_of("rate") is None
    grouped = FRAME.assign(density=0.5, density_foreign=0.1)
    assert StrataFrame.of_strata(grouped).density_of("foreign").tolist() == [0.1, 0.1]
    assert StrataFrame.of_strata(grouped).density_of("young").tolist() == [0.5, 0.5]
    assert StrataFrame.of_strata(grouped).moments("rate").density.tolist() == [1.0, 1.0]  # everybody


def test_the_frame_bounds_the_allocation_unless_the_call_does():
    target = Target("rate", CV(0.2), by="stratum")
    bounded = allocate(FRAME.assign(minimum=[500, 0.0 + 2], maximum=[600, 4000]), target)
    assert bounded["minimum"].tolist() == [500, 2] and bounded["maximum"].tolist() == [600, 4000]
    assert allocate(FRAME.assign(minimum=500), target, minimum=2)["minimum"].tolist() == [2, 2]
    assert allocate(FRAME, target)["minimum"].tolist() == [2, 2]


def test_labels_are_spelt_alike_whatever_holds_them():
    frame = pd.DataFrame({"domain": [1.0, 2.0], "population": 900})
    cells = StrataFrame.of_cells(frame, ["1", "2"])
    assert cells.frame["stratum"].tolist() == ["1", "2"] and cells.labels == ["1 × 1", "2 × 2"]


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (COUNT, [0.0, 7.0], [-1.0, np.inf, np.nan]),
        (LIMIT, [0.0, np.inf], [-1.0, np.nan]),
        (RATE, [1e-9, 1.0], [0.0, 1.1, np.nan]),
        (TODAY, [0.0, np.nan], [-1.0, np.inf]),
    ],
)
def test_ranges(allowed, inside, outside):
    assert allowed.holds(np.array(inside)).all() and not allowed.holds(np.array(outside)).any()


def test_rows_at_fault_are_named():
    with pytest.raises(SaeInputError, match="population is not at least 1 in 1 of 2 strata: b"):
        StrataFrame.of_strata(FRAME.assign(population=[5, -5]))
    with pytest.raises(SaeInputError, match="no column 'population'"):
        StrataFrame.of_strata(FRAME.rename(columns={"population": "populaton"}))
