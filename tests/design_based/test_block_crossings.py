"""Several tables of one pass over blocks, against `sae.direct` on the same records in memory."""

import json
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import sae
from sae.design_based import block_keys, block_sums
from sae.design_based.block_estimates import WholeFile
from sae.design_based.block_parts import restored, stored
from sae.design_based.block_task import Joined
from sae.design_based.direct_blocks import task_of
from sae.design_based.domains import cross_domains
from sae.errors import SaeInputError, SaeSpecError
from sae.indicators import arrays, resolve
from tests.design_based.test_direct_blocks import DESIGNS, INDICATORS, frame, same, small
from tests.survey.lfs_fixtures import encoded

__all__ = ["frame", "small"]  # fixtures

TOL = 1e-12  # the same weights, summed in another order
CROSSINGS = [
    ["region", "birth", "year"],
    ["nuts1", "birth", "year"],
    ["birth", "year"],
    ["region", "year"],
    ["age_group"],
    ["nuts1"],
    [],
]
NUTS1 = Joined("nuts1", "region", {"01": "A", "02": "A", "10": "B", "11": "B"}, "areas.csv")


@pytest.fixture(scope="module")
def people(frame):
    bands = np.array(["young", "middle", "old", None], dtype=object)
    return frame.assign(age_group=bands[np.minimum(frame["age"] // 30, 3)])


def sums_of(task, height=None):
    runs = block_sums.runs_of(task.records.n_records)
    if height is None:
        return block_sums.subtree(task, 0, runs)
    parts = [block_sums.subtree(task, k, min(k + height, runs)) for k in range(0, runs, height)]
    return block_sums.merged(map(stored_and_read, parts), 1e9)


def stored_and_read(sums):
    values, facts = stored(sums)
    read = json.loads(json.dumps(facts, sort_keys=True, allow_nan=False))
    return restored({name: np.array(one) for name, one in values.items()}, read)


def task(people, roles, crossings=CROSSINGS, **more):
    roles = {"weights": "w", "time": "year", **roles}
    return task_of(people, INDICATORS, crossings, roles, joined=[NUTS1], **more)


@pytest.mark.parametrize("design", ["with replacement", "fpc", "households", "two stages"])
@pytest.mark.parametrize("subset", [None, "age < 50"])
@pytest.mark.filterwarnings("ignore:.*summed over the 2 periods")
def test_every_table_is_that_of_the_records_in_memory(small, people, design, subset):
    what, first = task(people, DESIGNS[design], subset=subset)
    whole = WholeFile(what, sums_of(what), first)
    joined = people.assign(nuts1=people["region"].map(NUTS1.values))
    survey = sae.Survey.from_frame(joined, weights="w", time="year", **DESIGNS[design])
    if subset:
        survey = survey.subset(subset)
    for by in CROSSINGS:
        ours, theirs = whole.table(by), sae.direct(survey, INDICATORS, by)
        same(ours, theirs)
        assert ours.by == theirs.by
        assert ours.units == theirs.units
        assert set(theirs.log) <= set(ours.log)
        domains = cross_domains(survey, by)
        counts = whole.counted(by)
        for one in INDICATORS:
            data = arrays(resolve(one, survey), survey)
            inside = domains.codes >= 0
            weights = (data.denominator * survey.weights)[inside]
            expected = np.bincount(domains.codes[inside], weights, len(domains))
            np.testing.assert_allclose(counts[data.indicator.name], expected, rtol=TOL)


def test_some_indicators_smoothed_and_with_covariances(small, people):
    what, first = task(people, DESIGNS["with replacement"])
    whole = WholeFile(what, sums_of(what), first)
    survey = sae.Survey.from_frame(people, weights="w", time="year", **DESIGNS["with replacement"])
    some = ["employment_rate", "works"]
    by = ["region", "birth", "year"]
    ours = whole.table(by, indicators=some, smoothing="gvf", covariance=True)
    theirs = sae.direct(survey, some, by, smoothing="gvf", covariance=True)
    same(ours, theirs)
    np.testing.assert_allclose(ours.covariance, theirs.covariance, rtol=1e-8, atol=1e-16)
    assert ours.provenance["indicators"] == theirs.provenance["indicators"]


@pytest.mark.filterwarnings("ignore:.*summed over the 2 periods")
def test_more_combinations_of_levels_than_are_counted(small, people, monkeypatch):
    what, first = task(people, DESIGNS["with replacement"])
    few = WholeFile(what, sums_of(what), first)
    monkeypatch.setattr(block_keys, "_MOST", 1)
    many = WholeFile(what, sums_of(what), first)
    for by in CROSSINGS:
        same(many.table(by), few.table(by))


def test_pairs_of_areas_are_those_of_the_records(small, people):
    what, first = task(people, {})
    whole = WholeFile(what, sums_of(what), first)
    assert whole.pairs(["region", "nuts1"]).to_numpy().tolist() == [["01", "A"], ["02", "A"], ["10", "B"]]
    assert whole.pairs(["birth"])["birth"].tolist() == ["foreign", "native"]  # not those without


def test_parts_that_were_stored_give_the_same_bytes(small, people):
    what, _ = task(people, DESIGNS["with replacement"], crossings=CROSSINGS[:3])
    whole = sums_of(what)
    for height in (1, 2, 4):
        values, facts = stored(sums_of(what, height))
        expected, told = stored(whole)
        assert {name: one.tobytes() for name, one in values.items()} == {
            name: one.tobytes() for name, one in expected.items()
        }
        assert facts == told


def test_parts_of_a_layout(small):
    panel = sae.datasets.lfs_panel([sae.datasets.country(seed=1, regions=6)], seed=1).frame
    file = encoded(panel, "eu_lfs", 2025).reset_index(drop=True)
    what, _ = task_of(
        file,
        ["employment_rate", "unemployment_rate"],
        [["region", "birth_group"], ["sex"]],
        {},
        layout="eu_lfs",
        accept=[*sae.indicators.REGISTRY, "eu_lfs.age", "eu_lfs.birth", "eu_lfs.birth_group"],
    )
    one, other = stored(sums_of(what)), stored(sums_of(what, 2))
    assert one[1] == other[1]
    assert one[1]["releases"]
    assert all(one[0][name].tobytes() == other[0][name].tobytes() for name in one[0])


@pytest.mark.parametrize(
    "labels",
    [
        [True, False],
        [7, 2**60],
        [1.5, 0.1],
        [pd.Timestamp("2024-03-01 12:00:00.123456789"), pd.Timestamp("2024-03-01", tz="UTC")],
        [pd.Period("2024Q1"), None],
        [date(2024, 3, 1), Decimal("0.10")],
    ],
)
def test_labels_come_back_as_they_were(labels):
    sums = block_sums.BlockSums(
        block_sums.KeyedSums(1, 1),
        block_sums.Labels([(one,) for one in labels]),
        (),
        block_sums.Facts(levels={"a": dict.fromkeys(labels, True)}),
        block_sums.KeyedSums(0, 0),
    )
    back = stored_and_read(sums)
    assert back.domains.names == [(one,) for one in labels]
    assert list(map(type, back.facts.levels["a"])) == list(map(type, labels))


def test_labels_that_json_does_not_hold_are_refused():
    sums = block_sums.BlockSums(
        block_sums.KeyedSums(1, 1),
        block_sums.Labels([(1j,)]),
        (),
        block_sums.Facts(),
        block_sums.KeyedSums(0, 0),
    )
    with pytest.raises(SaeInputError, match="complex"):
        stored(sums)


def test_what_is_joined_and_asked_for_is_checked(small, people):
    short = Joined("nuts1", "region", {"01": "A", "10": "B"}, "areas.csv")
    with pytest.raises(SaeInputError, match=r"areas\.csv has no nuts1 for 1 values of region: 02"):
        task_of(people, "works", [["nuts1"]], {"weights": "w"}, joined=[short])
    with pytest.raises(SaeSpecError, match="nuts2"):
        task_of(people, "works", [["nuts2"]], {"weights": "w"}, joined=[short])
    what, first = task(people, {}, crossings=[["region"]])
    whole = WholeFile(what, sums_of(what), first)
    with pytest.raises(SaeSpecError, match="not summed by birth"):
        whole.table(["birth"])
    with pytest.raises(SaeSpecError, match="hourz are not among"):
        whole.table(["region"], indicators=["hourz"])


def test_the_own_column_of_the_records_comes_first(small, people):
    own = people.assign(nuts1="own")
    what, first = task(own, {}, crossings=[["nuts1"]])
    assert what.joined == ()
    assert WholeFile(what, sums_of(what), first).pairs(["nuts1"])["nuts1"].tolist() == ["own"]


def test_numbers_that_the_first_block_shows_are_no_shares(small, people):
    what, _ = task(people, {})
    shares = dict(zip([one.name for one in what.indicators], what.yes_or_no, strict=True))
    assert shares["works"] and not shares["hours"] and not shares["constant"]
