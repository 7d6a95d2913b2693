"""Segregation with its uncertainty: by hand, dense delta method, bias and coverage by simulation.

Tolerances: figures of 4,000 draws or 1,000 replicates within their Monte Carlo error; coverage within three
standard errors of the simulation, but where the docstring says that intervals are too short.
"""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.compare import changes, differences, pairs, ranks, segregation
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.segregation import INDICES

MONTE_CARLO = 0.08  # of a standard error from 1,000 replicates: three times 1/sqrt(2000)


@pytest.fixture
def census():
    frame = pd.DataFrame({"city": ["X"] * 4 + ["Y"] * 4, "district": list("abcdefgh")})
    frame["foreign"] = [90, 30, 20, 10, 40, 35, 30, 45]
    frame["native"] = [210, 270, 280, 290, 260, 265, 270, 255]
    return frame


OF_COUNTS = {"area": "city", "domain": "district", "counts": ["foreign", "native"], "seed": 1}


def test_counts_by_hand(census):
    made = segregation(census, "all", against="native", **OF_COUNTS)
    frame = made.frame.set_index(["domain", "indicator"])
    # X: shares of the foreign .6 .2 .1333 .0667, of the natives .2 .2571 .2667 .2762
    assert frame.loc[("X", "dissimilarity"), "plain"] == pytest.approx(0.4, abs=1e-12)
    isolation = (90**2 + 30**2 + 20**2 + 10**2) / 300 / 150
    assert frame.loc[("X", "isolation"), "plain"] == pytest.approx(isolation, rel=1e-12)
    assert frame.loc[("X", "exposure"), "plain"] == pytest.approx(1 - isolation, rel=1e-12)
    assert frame.loc[("Y", "dissimilarity"), ["parts", "members", "others"]].tolist() == [4, 150, 1050]
    assert made.replicates.shape == (1000, 12)
    even = frame["beyond_chance"].drop("exposure", level=1)
    by_hand = (frame["plain"] - frame["by_chance"]) / (1 - frame["by_chance"])
    np.testing.assert_allclose(even, by_hand.drop("exposure", level=1))
    assert "cannot be told apart from an even spread: Y" in made.summary()
    assert made["p_value"][0] < 0.01 and frame.loc[("Y", "dissimilarity"), "p_value"] > 0.1


def test_long_counts_are_wide_ones_and_rows_may_come_in_any_order(census):
    wide = segregation(census, "gini", **OF_COUNTS)
    long = census.melt(["city", "district"], ["foreign", "native"], "citizen", "n")
    made = segregation(long, "gini", area="city", domain="district", counts="n", group="citizen", seed=1)
    pd.testing.assert_frame_equal(made.frame, wide.frame)
    turned = segregation(census[::-1], "gini", **OF_COUNTS).frame.set_index(["domain", "group"])
    same = turned.loc[list(zip(wide["domain"], wide["group"], strict=True)), "estimate"]
    np.testing.assert_array_equal(same, wide["estimate"])
    assert wide["group"].tolist() == ["foreign", "native"] * 2
    assert wide["plain"][0] == pytest.approx(wide["plain"][1])


def test_several_groups_against_all_others_and_against_one(census):
    frame = census.assign(eu=[20, 30, 10, 10, 30, 10, 20, 20])
    options = OF_COUNTS | {"counts": ["foreign", "eu", "native"]}
    rest = segregation(frame, ["dissimilarity", "isolation"], **options)
    others = frame.assign(rest=frame["eu"] + frame["native"])
    alone = segregation(others, ["dissimilarity", "isolation"], **OF_COUNTS | {"counts": ["foreign", "rest"]})
    mine = rest["group"].eq("foreign")
    assert rest["against"].unique().tolist() == ["all others"]
    np.testing.assert_allclose(rest["plain"][mine], alone["plain"][alone["group"] == "foreign"])
    native = segregation(frame, ["dissimilarity", "isolation"], against="native", **options)
    two = segregation(census, "dissimilarity", against="native", **OF_COUNTS)
    of_two = native[["plain"]][native["group"].eq("foreign") & native["indicator"].eq("dissimilarity")]
    np.testing.assert_allclose(of_two["plain"], two["plain"])
    met = (90**2 / 320 + 30**2 / 330 + 20**2 / 310 + 10**2 / 310) / 150  # among everyone
    assert native["plain"][1] == pytest.approx(met)


def test_what_is_no_count_is_refused(census):
    with pytest.raises(SaeInputError, match=r"1 of 8 counts of foreign .* not whole: X / a"):
        segregation(census.assign(foreign=[1.5] + [2] * 7), **OF_COUNTS)
    with pytest.raises(SaeInputError, match="1 rows stand more than once: Y / e"):
        segregation(census.assign(district=list("abcdeegh")), **OF_COUNTS)
    with pytest.raises(SaeInputError, match="1 of 2 areas have a single part: Z"):
        segregation(census.assign(city=["X"] * 7 + ["Z"]), **OF_COUNTS)
    with pytest.raises(SaeInputError, match="no member of a side: Y: foreign"):
        segregation(census.assign(foreign=[1] * 4 + [0] * 4), against="native", **OF_COUNTS)
    with pytest.raises(SaeInputError, match="There is no group 'Native'"):
        segregation(census, against="Native", **OF_COUNTS)
    long = census.melt(["city", "district"], ["foreign", "native"], "citizen", "n")
    options = {"area": "city", "domain": "district", "counts": "n", "seed": 1}
    with pytest.raises(SaeInputError, match="1 of 8 parts lack a group: X / b"):
        segregation(long.drop(index=1), group="citizen", **options)
    with pytest.raises(SaeSpecError, match="without group="):
        segregation(long, **options)
    with pytest.raises(SaeInputError, match="1 of 8 rows have no period"):
        segregation(census.assign(time=[None] + ["2021"] * 7), **OF_COUNTS)
    with pytest.raises(SaeSpecError, match="needs a seed"):
        segregation(census, **OF_COUNTS | {"seed": None})
    with pytest.raises(SaeSpecError, match="'theil' is no index"):
        segregation(census, "theil", **OF_COUNTS)
    with pytest.raises(SaeSpecError, match="population= with the sizes"):
        segregation(census, area="city", seed=1)


def test_bias_and_coverage_of_counts():
    """60 parts of 150 people, share 12 %: the plain indices are too high, the corrected ones are not."""
    rng = np.random.default_rng(5)
    parts, repeat = 60, 60
    share, people = rng.beta(0.12 * 12, 0.88 * 12, parts), rng.integers(80, 220, parts)
    group, other = share * people, (1 - share) * people
    area = np.zeros(parts, dtype=int)
    truth = {name: index(group, other, area, 1, group + other)[0] for name, index in INDICES.items()}
    frames = []
    for k in range(repeat):
        drawn = [rng.multinomial(int(side.sum()), side / side.sum()) for side in (group, other)]
        frames.append(pd.DataFrame({"city": f"{k:03d}", "foreign": drawn[0], "native": drawn[1]}))
    frame = pd.concat(frames).assign(district=np.tile(np.arange(parts), repeat))
    made = segregation(frame, "all", against="native", draws=200, **OF_COUNTS).frame
    for name, rows in made.groupby("indicator", sort=False):
        inside = (rows["ci_low"] <= truth[name]) & (rows["ci_high"] >= truth[name])
        bias, plain = rows["estimate"].mean() - truth[name], rows["plain"].mean() - truth[name]
        spread = rows["estimate"].std()
        print(
            f"{name}: {truth[name]:.4f} plain {plain:+.4f} corrected {bias:+.4f} sd {spread:.4f} "
            f"se {rows['se'].mean():.4f} coverage {inside.mean():.3f}"
        )
        assert abs(bias) < 0.6 * abs(plain)
        if name in ("dissimilarity", "isolation", "exposure", "entropy"):
            assert abs(bias) < 3 * spread / np.sqrt(repeat) + 0.1 * abs(plain)
            assert inside.mean() > 0.95 - 3 * np.sqrt(0.95 * 0.05 / repeat) - 0.03
            assert rows["se"].mean() == pytest.approx(spread, rel=0.35)


def test_an_even_spread_is_seen_as_such():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"city": np.repeat(np.arange(40), 30), "district": np.tile(np.arange(30), 40)})
    people = rng.integers(30, 60, len(frame))
    frame["foreign"] = rng.binomial(people, 0.1)
    frame["native"] = people - frame["foreign"]
    made = segregation(frame, ["dissimilarity", "entropy"], against="native", draws=200, **OF_COUNTS).frame
    plain = made[made["indicator"].eq("dissimilarity")]
    assert plain["plain"].mean() == pytest.approx(plain["by_chance"].mean(), rel=0.05)
    assert plain["plain"].mean() > 0.15
    assert (plain["p_value"] < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert abs(plain["beyond_chance"].mean()) < 0.02
    assert made["estimate"][made["indicator"].eq("entropy")].mean() < 0.004


def direct_table(rng, cities=1, parts=40, se=0.02):
    names = [f"{c:02d}-{k:02d}" for c in range(cities) for k in range(parts)]
    truth = rng.beta(0.2 * 8, 0.8 * 8, len(names))
    frame = pd.DataFrame({"domain": names, "city": [name[:2] for name in names], "se": se})
    frame["people"] = rng.integers(500, 3000, len(names)).astype(float)
    return frame, truth


def gradient(shares, people, name):
    """Slopes of an index by central differences, one part at a time."""
    area, step = np.zeros(len(shares), dtype=int), 1e-6

    def index(values):
        group = values * people
        return INDICES[name](group, people - group, area, 1, people)[0]

    moves = step * np.eye(len(shares))
    return np.array([(index(shares + move) - index(shares - move)) / (2 * step) for move in moves])


def test_direct_estimates_against_the_dense_delta_method():
    rng = np.random.default_rng(7)
    frame, truth = direct_table(rng, parts=12, se=0.004)
    frame["estimate"] = np.clip(truth, 0.03, 0.97)
    made = segregation(frame, "all", area="city", population="people", seed=1, draws=3000).frame
    for name, rows in made.groupby("indicator"):
        slope = gradient(frame["estimate"].to_numpy(), frame["people"].to_numpy(), name)
        assert rows["se"].iloc[0] == pytest.approx(0.004 * np.sqrt(slope @ slope), rel=MONTE_CARLO)
    assert made["group"].unique().tolist() == ["group"]


def test_direct_estimates_with_a_covariance_use_it():
    rng = np.random.default_rng(8)
    frame, truth = direct_table(rng, parts=10, se=0.004)
    frame = frame.assign(
        estimate=np.clip(truth, 0.03, 0.97), indicator="own", geo="", time="", definition="v1", n=100
    ).assign(n_eff=90.0, df=np.inf, variance=0.004**2, vardir=0.004**2, status="ok")
    root = rng.normal(size=(10, 3))
    covariance = root @ root.T + 0.2 * np.eye(10)
    scale = 0.004 / np.sqrt(np.diag(covariance))
    covariance *= np.outer(scale, scale)
    index = pd.MultiIndex.from_frame(frame[["indicator", "domain", "time"]])
    labelled = pd.DataFrame(covariance, index=index, columns=index)
    table = sae.DirectEstimates(
        frame.drop(columns=["city", "people"]), ("domain",), labelled, {"own": "share"}
    )
    city, people = (
        dict.fromkeys(frame["domain"], "X"),
        dict(zip(frame["domain"], frame["people"], strict=True)),
    )
    made = segregation(table, "entropy", area=city, population=people, seed=1, draws=3000)
    slope = gradient(frame["estimate"].to_numpy(), frame["people"].to_numpy(), "entropy")
    assert made["se"][0] == pytest.approx(np.sqrt(slope @ covariance @ slope), rel=MONTE_CARLO)
    assert made["group"][0] == "own" and "time" not in made.frame


def test_bias_and_coverage_of_direct_estimates_and_of_a_fit():
    """50 cities of 30 parts, se 0.06: plain direct too high, predictions too low, both answers right."""
    rng = np.random.default_rng(9)
    frame, _ = direct_table(rng, cities=50, parts=30, se=0.06)
    truth = 0.35 + 0.09 * rng.normal(size=len(frame))
    frame["estimate"] = truth + 0.06 * rng.normal(size=len(frame))
    frame["vardir"] = 0.06**2
    codes, people = pd.factorize(frame["city"])[0], frame["people"].to_numpy()
    fit = sae.FayHerriot("estimate ~ 1").fit(frame)
    options = {"area": "city", "population": "people", "seed": 1, "draws": 300}
    for data, sign in ((frame, 1), (fit, -1)):
        made = segregation(data, ["dissimilarity", "isolation", "entropy"], **options).frame
        for name, rows in made.groupby("indicator", sort=False):
            real = INDICES[name](truth * people, (1 - truth) * people, codes, 50, people)
            inside = (rows["ci_low"].to_numpy() <= real) & (rows["ci_high"].to_numpy() >= real)
            bias = (rows["estimate"] - real).to_numpy()
            plain = (rows["plain"] - real).to_numpy()
            error = bias.std() / np.sqrt(50)
            print(
                f"{'direct' if sign > 0 else 'fit'} {name}: {real.mean():.4f} plain {plain.mean():+.4f} "
                f"answer {bias.mean():+.4f} ({error:.4f}) coverage {inside.mean():.3f}"
            )
            assert sign * plain.mean() > 0
            assert abs(bias.mean()) < 3 * error + 0.1 * abs(plain.mean())
            assert inside.mean() >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 50)
    assert made["by_chance"].isna().all() and "quantiles" in made["interval"][0]


def test_shares_of_groups_in_rows_and_against_another():
    parts = [f"p{k}" for k in range(6)]
    share = np.array([0.1, 0.2, 0.15, 0.3, 0.05, 0.2])
    rows = [
        pd.DataFrame({"domain": parts, "citizen": name, "estimate": values, "se": 1e-6})
        for name, values in (("NEU", share), ("EU", 0.3 - share), ("NAT", np.full(6, 0.7)))
    ]
    frame = pd.concat(rows, ignore_index=True).assign(city="X", people=100.0)
    options = {"area": "city", "group": "citizen", "population": "people", "seed": 1, "draws": 100}
    made = segregation(frame, ["dissimilarity", "isolation"], against="NAT", **options)
    assert made["group"].tolist() == ["NEU", "NEU", "EU", "EU"]
    by_hand = 0.5 * np.abs(share / share.sum() - 1 / 6).sum()
    assert made["estimate"][0] == pytest.approx(by_hand, abs=1e-4)
    assert made["plain"][1] == pytest.approx((share**2).sum() / share.sum())
    rest = segregation(frame, **options)
    assert rest["against"].unique().tolist() == ["all others"] and len(rest) == 3
    with pytest.raises(SaeInputError, match=r"population differs between groups in 1 parts: .*p0"):
        segregation(frame.assign(people=[90.0] + [100.0] * 17), **options)
    with pytest.raises(SaeInputError, match="no shares"):
        segregation(frame.assign(estimate=frame["estimate"] * 100), **options)
    with pytest.raises(SaeInputError, match="no population"):
        segregation(frame.assign(people=[np.nan] + [100.0] * 17), **options)
    with pytest.raises(SaeInputError, match="No area for 5 of 6 parts"):
        segregation(frame, **options | {"area": {"p0": "X"}})


def test_a_part_without_a_figure_leaves_its_area_without_an_index():
    rng = np.random.default_rng(10)
    frame, truth = direct_table(rng, cities=2, parts=5)
    frame["estimate"] = truth
    frame.loc[7, "estimate"] = np.nan
    made = segregation(frame, area="city", population="people", seed=1, draws=100)
    assert made["estimate"].isna().tolist() == [False, True]
    assert made["ci_low"].isna().tolist() == [False, True]
    assert "a part has no figure: 01" in made.summary()


def test_two_cities_and_two_periods_compare_by_their_joint_error(census):
    later = census.assign(foreign=[60, 40, 30, 20, 40, 35, 30, 45], time="2021")
    frame = pd.concat([census.assign(time="2011"), later])
    made = segregation(frame, ["dissimilarity", "entropy"], against="native", **OF_COUNTS)
    assert made["time"].tolist() == ["2011", "2011", "2021", "2021"] * 2
    moved = changes(made).frame.set_index(["domain", "indicator"])
    assert moved.loc[("X", "dissimilarity"), "verdict"] == "fell"
    assert moved.loc[("Y", "dissimilarity"), "verdict"] == "cannot be told apart"
    rows = made.frame.reset_index().set_index(["domain", "time", "indicator"])["index"]
    one, other = rows[("X", "2021", "dissimilarity")], rows[("X", "2011", "dissimilarity")]
    apart = made.replicates[:, one] - made.replicates[:, other]
    assert moved.loc[("X", "dissimilarity"), "se"] == pytest.approx(apart.std(ddof=1), rel=1e-9)
    against = differences(made, "Y").frame
    assert against.loc[against["time"].eq("2011"), "verdict"].tolist() == ["higher", "higher"]
    assert len(pairs(made)) == 4
    assert ranks(made, seed=1)["rank"].tolist() == [1] * 4 + [2] * 4


def test_it_is_drawn_and_written(census, tmp_path):
    made = segregation(census, ["dissimilarity", "gini"], **OF_COUNTS)
    with pytest.raises(SaeInputError, match=r'made.plot\("dissimilarity"\)'):
        made.plot()
    axes = made.plot("gini", source="Census").axes[0]
    assert axes.get_xlabel() == "gini, 0 to 1"
    assert [text.get_text() for text in axes.get_yticklabels()][-1].startswith("X, ")
    back = pd.read_csv(made.write(tmp_path / "made.csv"))
    np.testing.assert_allclose(back["estimate"], made["estimate"])
    assert "<table" in made._repr_html_()


def test_parts_that_are_all_alike_are_not_surely_even():
    parts = pd.DataFrame({"city": "X", "domain": list("abcdef"), "foreign": 10, "native": 100})
    made = sae.compare.segregation(
        parts,
        ["dissimilarity", "gini"],
        area="city",
        counts=["foreign", "native"],
        against="native",
        seed=1,
    ).to_frame()
    assert (made["estimate"] == 0.0).all()
    np.testing.assert_allclose(made["ci_high"], 1.959964 * made["se"], rtol=1e-6)
