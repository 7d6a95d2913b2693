"""How groups live within areas: by hand, and by what must hold for any counts."""

import numpy as np
import pandas as pd
import pytest

from sae.auxiliary import Covariates, Origin, crosswalk, group_covariates
from sae.errors import SaeInputError, SaeSpecError

EXACT = 1e-12  # relative: sums of a few dozen floats
GROUPS = ["native", "eu", "non_eu"]


def cells(*rows):
    return pd.DataFrame(rows, columns=["cell", *GROUPS])


def city(*pairs):
    return pd.DataFrame(pairs, columns=["cell", "city"])


def test_by_hand():
    table = cells(("a", 30, 10, 0), ("b", 10, 0, 10))
    out = group_covariates(table, by="cell", shares=city(("a", "X"), ("b", "X")), groups=GROUPS)
    row = out.iloc[0]
    assert row["city"] == "X" and row["total"] == 60
    assert np.allclose(
        row[["share_native", "share_eu", "share_non_eu"]].astype(float), [40 / 60, 10 / 60, 10 / 60]
    )
    assert np.isclose(row["diversity"], 1 - (40**2 + 10**2 + 10**2) / 60**2, rtol=EXACT)
    # the ten EU-born all in a, with 30 of the 50 others
    assert np.isclose(row["dissimilarity_eu"], 0.5 * (abs(1 - 30 / 50) + abs(0 - 20 / 50)), rtol=EXACT)
    assert np.isclose(row["isolation_eu"], 10 / 40, rtol=EXACT)


def test_what_must_hold_whatever_the_counts(rng):
    names = [f"c{k:02d}" for k in range(40)]
    table = cells(*((name, *rng.poisson((50, 5, 8))) for name in names))
    shares = city(*((name, "XY"[k % 2]) for k, name in enumerate(names)))
    out = group_covariates(table, by="cell", shares=shares, groups=GROUPS)
    totals = crosswalk(table, by="cell", shares=shares, counts=GROUPS)
    assert np.allclose(out["total"], totals[GROUPS].sum(axis=1), rtol=EXACT)
    for name in GROUPS:
        assert np.allclose(out[f"share_{name}"], totals[name] / out["total"], rtol=EXACT)
        assert (out[f"isolation_{name}"] >= out[f"share_{name}"]).all() and out[
            f"dissimilarity_{name}"
        ].between(0, 1).all()
    # apart: every cell of one group only; alike: every cell the same
    apart = table.assign(**{g: np.where(np.arange(40) // 2 % 3 == k, 9, 0) for k, g in enumerate(GROUPS)})
    alike = table.assign(native=80, eu=10, non_eu=10)
    for frame, dissimilar, alone in ((apart, 1.0, 1.0), (alike, 0.0, 0.1)):
        found = group_covariates(frame, by="cell", shares=shares, groups=GROUPS)
        assert np.allclose(found["dissimilarity_eu"], dissimilar) and np.allclose(
            found["isolation_eu"], alone
        )


def test_a_cell_shared_by_two_areas_counts_in_both_by_its_share():
    table = cells(("a", 30, 10, 0), ("b", 10, 0, 10))
    shares = pd.DataFrame({"cell": ["a", "a", "b"], "city": ["X", "Y", "Y"], "share": [0.25, 0.75, 1.0]})
    out = group_covariates(table, by="cell", shares=shares, groups=GROUPS)
    assert out["city"].tolist() == ["X", "Y"] and out["total"].tolist() == [10, 50]
    assert np.allclose(out["share_eu"], [2.5 / 10, 7.5 / 50], rtol=EXACT)


def test_areas_without_anyone_or_without_a_group_have_no_index():
    table = cells(("a", 0, 0, 0), ("b", 10, 0, 5))
    out = group_covariates(table, by="cell", shares=city(("a", "X"), ("b", "Y")), groups=GROUPS)
    assert out["diversity"].isna().tolist() == [True, False]
    assert out.loc[1, ["dissimilarity_eu", "isolation_eu"]].isna().all() and out["share_eu"].iloc[1] == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (cells(("a", 1, np.nan, 2), ("b", 1, 1, 1)), "missing, negative or infinite in 1 of 2 rows: a"),
        (cells(("a", np.inf, 1, 2), ("b", 1, 1, 1)), "missing, negative or infinite in 1 of 2 rows: a"),
        (cells(("a", 1, 1, 1), ("b", -1, 1, 1)), "negative or infinite in 1 of 2 rows: b"),
        (cells(("a", 1, 1, 1), ("a", 1, 1, 1)), "1 parts stand more than once: a"),
        (cells(("a", 1, 1, 1), ("c", 1, 1, 1)), "1 of 2 areas have no shares: c"),
    ],
)
def test_wrong_counts_are_refused_by_name(table, message):
    with pytest.raises(SaeInputError, match=message):
        group_covariates(table, by="cell", shares=city(("a", "X"), ("b", "X")), groups=GROUPS)


def test_one_group_is_refused():
    with pytest.raises(SaeSpecError, match="groups= names 1 groups"):
        group_covariates(cells(("a", 1, 1, 1)), by="cell", shares=city(("a", "X")), groups=["eu"])


def test_the_origin_of_the_counts_is_that_of_their_columns():
    origin = Origin("Census", "born elsewhere in the EU", "2021")
    table = Covariates(cells(("a", 30, 10, 0), ("b", 10, 0, 10)), {"eu": origin})
    out = group_covariates(table, by="cell", shares=city(("a", "X"), ("b", "X")), groups=GROUPS)
    assert sorted(out.origins) == ["dissimilarity_eu", "isolation_eu", "share_eu"]
    assert out.origins["share_eu"].text() == "Census, 2021 (share of born elsewhere in the EU)"
