"""Which direct estimates may leave: the primary rule, and no domain left out that the others tell."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from sae.disclosure import PrimaryRules
from sae.errors import SaeInputError
from sae.publish.exchange_rule import crossing_rows

BY = ["region", "birth", "sex"]
CLOSE = 1e-9  # rank of small integer systems


def table(counts):
    """Totals over birth, and over birth and sex, of counts by (region, birth, sex)."""
    rows = []
    for region in dict.fromkeys(key[0] for key in counts):
        here = {key[1:]: n for key, n in counts.items() if key[0] == region}
        rows.append((region, "total", "total", sum(here.values())))
        for birth in dict.fromkeys(key[0] for key in here):
            rows.append((region, birth, "total", sum(n for key, n in here.items() if key[0] == birth)))
            rows += [(region, birth, sex, n) for (one, sex), n in here.items() if one == birth]
    frame = pd.DataFrame(rows, columns=[*BY, "n"])
    return frame.assign(
        indicator="works", time="2025", estimate=0.5, domain=frame[BY].agg(" / ".join, axis=1)
    )


def drawn(seed, regions=6):
    rng = np.random.default_rng(seed)
    keys = product([f"R{k}" for k in range(regions)], ["eu", "native", "non_eu"], ["female", "male"])
    return table({key: int(rng.integers(0, 12)) for key in keys})


def test_by_hand():
    """One part left out alone would be its total less the other."""
    counts = {("R1", "foreign", "female"): 2, ("R1", "foreign", "male"): 9, ("R1", "native", "female"): 20}
    frame = table({**counts, ("R1", "native", "male"): 30})
    status = dict(zip(frame["domain"], crossing_rows(frame, BY, PrimaryRules(persons=4)), strict=True))
    assert status == {
        "R1 / total / total": "published",
        "R1 / foreign / total": "published",
        "R1 / native / total": "published",
        "R1 / foreign / female": "primary",
        "R1 / foreign / male": "secondary",
        "R1 / native / female": "published",
        "R1 / native / male": "published",
    }


@pytest.mark.parametrize("seed", range(25))
def test_nothing_left_out_can_be_solved_for(seed):
    """Dense linear algebra on the smallest cells: no combination of published rows gives a hidden one."""
    frame = drawn(seed)
    status = crossing_rows(frame, BY, PrimaryRules(persons=4))
    assert ((frame["n"] == 0) == (status == "empty")).all()
    assert ((frame["n"].between(1, 3)) == (status == "primary")).all()
    smallest = [row for row in frame[BY].itertuples(index=False) if "total" not in row]
    system = np.array(
        [
            [all(a in ("total", b) for a, b in zip(row, cell, strict=True)) for cell in smallest]
            for row in frame[BY].itertuples(index=False)
        ],
        dtype=float,
    )
    shown = system[status == "published"]
    rank = np.linalg.matrix_rank(shown, tol=CLOSE)
    for k in np.flatnonzero((status == "primary") | (status == "secondary")):
        assert np.linalg.matrix_rank(np.vstack([shown, system[k]]), tol=CLOSE) == rank + 1


def test_the_order_of_rows_does_not_matter():
    frame = drawn(3)
    order = np.random.default_rng(0).permutation(len(frame))
    mixed = crossing_rows(frame.iloc[order].reset_index(drop=True), BY, PrimaryRules(persons=4))
    assert (mixed == crossing_rows(frame, BY, PrimaryRules(persons=4))[order]).all()


def test_records_that_no_group_names_are_a_part_too():
    """The total has 2 records more than its parts: they could be told, so a part goes."""
    frame = table({("R1", birth, sex): 9 for birth in ("eu", "native") for sex in ("female", "male")})
    frame.loc[frame["domain"] == "R1 / total / total", "n"] += 2
    status = crossing_rows(frame, BY, PrimaryRules(persons=4))
    assert (status == "secondary").any() and not (status == "primary").any()


def test_without_totals_only_the_primary_rule():
    frame = drawn(1)
    frame = frame[(frame[BY] != "total").all(axis=1)].reset_index(drop=True)
    status = crossing_rows(frame, BY, PrimaryRules(persons=5))
    expected = np.where(frame["n"] == 0, "empty", np.where(frame["n"] < 5, "primary", "published"))
    assert (status == expected).all()


def test_rates_that_tell_each_other():
    """Unemployment rests on 3 active persons: 1 - employment / activity would tell it."""
    rows = [("activity_rate", 20), ("employment_rate", 20), ("unemployment_rate", 3), ("tertiary_share", 20)]
    frame = pd.DataFrame(rows, columns=["indicator", "n"])
    frame = frame.assign(region="R1", time="", estimate=0.5, domain="R1")
    assert crossing_rows(frame, ["region"], PrimaryRules(persons=4)).tolist() == ["primary"] * 3 + [
        "published"
    ]


def test_refusals():
    frame = drawn(1)
    with pytest.raises(SaeInputError, match="records of 1 domains is not known: R0 / total"):
        crossing_rows(frame.assign(n=frame["n"].where(frame.index > 0)), BY, PrimaryRules(persons=4))
    frame.loc[0, "n"] = 1
    with pytest.raises(SaeInputError, match="parts of total / total have more records"):
        crossing_rows(frame, BY, PrimaryRules(persons=4))
