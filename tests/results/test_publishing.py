"""The verbs of a published table: benchmark, aggregate, flag."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sae.area_level import FayHerriot
from sae.errors import SaeError, SaeInputError, SaeSpecError, SaeWarning

EXACT = 1e-12  # a benchmark is a sum of a few dozen numbers
DRAWS = 20_000
SAMPLED = 0.06  # relative error of a variance from 20,000 draws is 0.01; the largest of 30 stays below this


@pytest.fixture
def shares(rng):
    p = rng.uniform(0.3, 0.7, 60)
    frame = pd.DataFrame(
        {
            "area": [f"A{k:02d}" for k in range(60)],
            "p": p,
            "n_eff": 80.0,
            "x": p + 0.1 * rng.normal(size=60),
            "pop": rng.integers(100, 900, 60),
            "nation": ["N1", "N2"] * 30,
        }
    )
    return FayHerriot("p ~ x", domain="area", transform="arcsin", replicates=100).fit(frame, seed=1)


def weighted_means(result, values, weights="pop", by="nation"):
    groups, w = result.areas[by], result.areas[weights].to_numpy(dtype=float)
    return {
        g: (values * w)[..., groups == g].sum(axis=-1) / w[groups == g].sum() for g in sorted(set(groups))
    }


# draws


@pytest.mark.parametrize("method", ["ratio", "difference"])
def test_benchmark_is_exact_for_estimates_and_draws(fit, method):
    targets = {"N1": 9.5, "N2": 10.5, "N3": 10.0}
    final = fit.benchmark(targets, within="nation", weights="pop", method=method)
    for nation, mean in weighted_means(final, final.estimates["estimate"].to_numpy()).items():
        assert mean == pytest.approx(targets[nation], abs=EXACT * 10)
    for nation, means in weighted_means(final, final.draws(50, seed=1).values).items():
        np.testing.assert_allclose(means, targets[nation], rtol=EXACT)
    factor = final.estimates["benchmark_factor"]
    np.testing.assert_allclose(factor * fit.estimates["estimate"], final.estimates["estimate"], rtol=EXACT)
    assert type(final) is type(fit)
    assert "benchmarked" in final.estimates["interval"].iloc[0]
    assert fit.estimates["benchmark_factor"].isna().all()  # the first result is as it was


def test_benchmarked_mse_is_that_of_the_constrained_errors(fit):
    final = fit.benchmark(10.2, weights="pop", method="difference")
    draws = final.draws(DRAWS, seed=2).values
    np.testing.assert_allclose(draws.var(axis=0), final.estimates["mse"], rtol=SAMPLED)
    w = fit.areas["pop"] / fit.areas["pop"].sum()
    T = np.eye(30) - np.outer(np.ones(30), w)
    expected = np.diag(T @ fit.joint.covariance() @ T.T)
    np.testing.assert_allclose(final.estimates["mse"], expected, rtol=1e-10)
    assert w @ final.joint.covariance() @ w == pytest.approx(0.0, abs=1e-12)


def test_two_benchmarks_in_a_row(fit):
    final = fit.benchmark(10.2, weights="pop").benchmark(
        {"N1": 9.0, "N2": 10.0, "N3": 11.0}, within="nation", weights="pop", method="difference"
    )
    means = weighted_means(final, final.estimates["estimate"].to_numpy())
    assert list(means.values()) == pytest.approx([9.0, 10.0, 11.0], abs=1e-11)
    np.testing.assert_allclose(weighted_means(final, final.draws(5, seed=1).values)["N1"], 9.0, rtol=EXACT)


def test_benchmark_of_shares(shares):
    target = {"N1": 0.5, "N2": 0.55}
    final = shares.benchmark(target, within="nation", weights="pop")
    assert final.estimates["estimate"].between(0, 1).all()
    assert final.estimates["ci_high"].le(1).all()
    for nation, means in weighted_means(final, final.draws(20, seed=1).values).items():
        np.testing.assert_allclose(means, target[nation], rtol=EXACT)
    with pytest.raises(SaeSpecError, match="needs weights"):
        shares.benchmark(target, within="nation")
    with pytest.raises(SaeInputError, match="would leave the range 0 to 1"):
        shares.benchmark(0.97, weights="pop")


def test_sums_without_weights_and_weights_by_name(fit):
    assert fit.benchmark(300.0, total=True).estimates["estimate"].sum() == pytest.approx(300.0, rel=EXACT)
    by_name = dict(zip(fit.areas["area"], fit.areas["pop"], strict=True))
    a = fit.benchmark(10.0, weights=by_name).estimates["estimate"]
    b = fit.benchmark(10.0, weights="pop").estimates["estimate"]
    assert np.array_equal(a, b)
    del by_name["A03"]
    with pytest.raises(SaeInputError, match="No weight for 1 of 30 domains: A03"):
        fit.benchmark(10.0, weights=by_name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"targets": {"N1": 9.0, "N4": 9.0}, "within": "nation", "weights": "pop"},
            "no area belongs to N4.*\n.*groups are N1, N2, N3",
        ),
        ({"targets": {"N1": 9.0}, "weights": "pop"}, 'within= does not name.*\n.*mean within="nation"'),
        ({"targets": {"a": 1.0}, "total": True}, "targets name a, but within= does not name"),
        ({"targets": {}, "within": "nation", "weights": "pop"}, "not figures by label"),
        ({"targets": None, "weights": "pop"}, "needs its targets, not 'None'"),
        ({"targets": "9.0", "weights": "pop"}, "needs its targets, not '9.0'"),
        ({"targets": [9.0, 9.0, 9.0], "weights": "pop"}, "needs its targets, not"),
        ({"targets": float("nan"), "weights": "pop"}, "The target is missing"),
        ({"targets": float("inf"), "weights": "pop"}, "no finite number"),
        ({"targets": 9.0, "within": "nation", "weights": "pop"}, "one target, but within= makes 3 groups"),
        ({"targets": {"N1": 9.0}, "within": 3, "weights": "pop"}, "within = '3' names no column"),
        ({"targets": {"N1": 9.0}, "within": [], "weights": "pop"}, r"within = '\[\]' names no column"),
        ({"targets": {"nation": {"N1": 9.0}, "x": 1.0}, "weights": "pop"}, "those of x are not"),
        ({"targets": 9.0}, "has no weights, and nothing says that its target is a total"),
        ({"targets": 9.0, "weights": "pop", "total": True}, "have no meaning with them"),
        ({"targets": 9.0, "total": True}, "The targets would move the sum of 1 of 1 groups"),
        ({"targets": 9.0, "weights": "pop", "method": ["ratio"]}, "does not exist"),
        ({"targets": 9.0, "total": "yes"}, "total = 'yes' is no truth value"),
        (
            {"targets": {"N1": 9.0}, "within": "nation", "weights": "pop", "target_variance": 0.1},
            "There is one target variance, but within= makes 3 groups",
        ),
        (
            {"targets": {"N1": 9.0}, "within": "nation", "weights": "pop", "target_variance": {"N2": 0.1}},
            "no target variance is given for N1; no area belongs to N2",
        ),
        ({"targets": 9.0, "weights": 3}, "weights are '3'"),
        ({"targets": 9.0, "weights": {"A00": 1.0, "A01": None}}, "No weight for 28 of 30 domains"),
        ({"targets": {"N1": 9.0, "N2": 9.0}, "weights": "pop"}, "within= does not name"),
        ({"targets": 9.0, "weights": "people"}, "column 'people'"),
        ({"targets": 9.0, "weights": "nation"}, "nation holds text where numbers"),
        ({"targets": 9.0, "within": "country", "weights": "pop"}, "column 'country'"),
        ({"targets": 9.0, "weights": "pop", "method": "rake"}, "method = 'rake' does not exist"),
    ],
)
def test_benchmarks_that_cannot_be_are_refused_by_name(fit, options, words):
    with pytest.raises((SaeInputError, SaeSpecError), match=words):
        fit.benchmark(options.pop("targets"), **options)


def test_a_benchmark_of_one_group_leaves_the_others_to_the_bit_and_says_so(fit):
    with pytest.warns(SaeWarning, match=r"No target is given for N2 \(10 rows\), N3 \(10 rows\)"):
        final = fit.benchmark({"N1": 9.5}, within="nation", weights="pop")
    others = (fit.areas["nation"] != "N1").to_numpy()
    same = ["estimate", "mse", "se", "cv", "ci_low", "ci_high", "interval", "benchmark_factor"]
    pd.testing.assert_frame_equal(final.estimates[same][others], fit.estimates[same][others])
    assert final.estimates["interval"][~others].str.endswith("benchmarked").all()
    assert weighted_means(final, final.estimates["estimate"].to_numpy())["N1"] == pytest.approx(9.5)
    np.testing.assert_allclose(weighted_means(final, final.draws(9, seed=1).values)["N1"], 9.5, rtol=EXACT)
    before = weighted_means(fit, fit.estimates["estimate"].to_numpy())["N1"]
    moved, left = (message.text for message in final.messages[-2:])
    assert moved == f"Benchmarked by ratio: N1 × {9.5 / before:.4g} (10 rows)."
    assert final.provenance["warnings"][-2:] == [moved, left]
    assert moved in final.summary() and left in final.summary()


def test_a_figure_for_one_group_never_moves_the_others(fit):
    """benchmark({"foreign": .7}) moved the natives, and benchmark({"a": 1.0}) everything by 5.9e-07."""
    birth = replace(fit, areas=fit.areas.assign(birth=["native", "foreign"] * 15))
    for targets in ({"foreign": 9.7}, pd.Series({"foreign": 9.7})):
        with pytest.raises(SaeSpecError, match=r"(?s)name foreign.*Did you mean within=.birth"):
            birth.benchmark(targets, weights="pop")
    with pytest.raises(SaeInputError, match=r"all rows from .* \(× 0\.00\d+, 30 rows\)"):
        fit.benchmark(1.0, total=True)
    with pytest.raises(SaeInputError, match="by a factor outside"):
        fit.benchmark(1.0, weights="pop")
    final = fit.benchmark(1.0, weights="pop", factor_range=(0.05, 2))
    assert final.benchmarks[-1].groups["after"].tolist() == pytest.approx([1.0])


def test_totals_add_up_and_means_do_not(fit):
    totals = replace(fit, estimates=fit.estimates.assign(definition="total of y"))
    assert totals.benchmark(300.0).estimates["estimate"].sum() == pytest.approx(300.0, rel=EXACT)
    with pytest.raises(SaeSpecError, match="Totals add up"):
        totals.benchmark(10.0, weights="pop")
    ratios = replace(fit, estimates=fit.estimates.assign(unit="ratio"))
    with pytest.raises(SaeSpecError, match="Ratios do not add up"):
        ratios.benchmark(300.0, total=True)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ({f"A{k:02d}": -1.0 for k in range(30)}, "30 of 30 (areas|domains) have .*weight"),
        ({f"A{k:02d}": None for k in range(30)}, "30 of 30 (areas|domains) have no weight"),
        ({f"A{k:02d}": "many" for k in range(30)}, "weights holds text"),
        (pd.Series(1.0, index=["A00", "A00"]), "weight is given twice for A00"),
        ([1.0] * 30, "not figures by label"),
    ],
)
def test_weights_that_are_none_are_named_by_both_verbs(fit, weights, match):
    with pytest.raises((SaeInputError, SaeSpecError), match=match):
        fit.benchmark(10.0, weights=weights)
    with pytest.raises((SaeInputError, SaeSpecError), match=match):
        fit.aggregate("nation", weights=weights)


ODD_FIGURES = [None, "0.5", "", True, float("nan"), float("inf"), -1.0, 0.0, 1e300, 10**400, pd.NA, [1.0], {}]
ODD_LABELS = ["N1", "N2", "N3", "N4", "foreign", 1, None, ("N1", "a"), ""]


def odd_benchmark(rng, fit):
    """Options of a benchmark of which some are wrong."""

    def pick(values):
        return values[int(rng.integers(len(values)))]

    def value():
        return float(rng.uniform(8, 12)) if rng.random() < 0.8 else pick(ODD_FIGURES)

    labels = ["N1", "N2", "N3"][: int(rng.integers(1, 4))]
    labels = labels if rng.random() < 0.8 else [pick(ODD_LABELS) for _ in labels]
    targets = {label: value() for label in labels}
    kind = rng.random()
    if kind < 0.15:
        targets = value()
    elif kind < 0.25:
        targets = {
            "nation": targets,
            pick(["half", "nation", "x", 3]): pick([{"A": value(), "B": value()}, 1.0]),
        }
    elif kind < 0.35:
        targets = pd.Series(targets, dtype="object")
    nested = isinstance(targets, dict) and "nation" in targets
    within = None if nested else "nation"
    within = within if rng.random() < 0.8 else pick([None, "nation", "half", ["nation", "half"], 3, [], "no"])
    weights = (
        "pop" if rng.random() < 0.7 else pick([None, "nation", "none", 3, {"A00": 1.0}, "holes", "zero"])
    )
    return targets, {
        "within": within,
        "weights": weights,
        "method": pick(["ratio", "difference", "mse", "optimal", "logit"]),
        "total": bool(rng.random() < 0.1),
        "factor_range": (0.5, 2.0) if rng.random() < 0.8 else pick([(0, 9), (2, 1), "all", None, (0.9, 1.1)]),
        "target_variance": None if rng.random() < 0.8 else pick([0.01, {"N1": 0.01}, {"N1": -1.0}, "none"]),
    }


@pytest.mark.parametrize("number", [150, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
def test_random_benchmarks_meet_their_targets_or_name_what_is_wrong(fit, number):
    rng = np.random.default_rng(20261128)
    weight = np.where(np.arange(30) == 7, np.nan, 1.0), np.where(np.arange(30) == 7, 0.0, 1.0)
    half = np.where(np.arange(30) % 2, "A", "B")
    fit = replace(fit, areas=fit.areas.assign(half=half, holes=weight[0], zero=weight[1]))
    old, done = fit.estimates["estimate"].to_numpy(), 0
    for _ in range(number):
        targets, options = odd_benchmark(rng, fit)
        try:
            final = fit.benchmark(targets, **options)
        except SaeError as error:
            assert error.what.endswith(".") and len(error.what) > 20
            continue
        done += 1
        new, last = final.estimates["estimate"].to_numpy(), final.benchmarks[-1]
        assert np.isfinite(new).all()
        figures = last.constraints.weights.T @ new
        np.testing.assert_allclose(figures, last.constraints.target, rtol=1e-9, atol=1e-12)
        assert last.groups["factor"].between(*options["factor_range"]).all()
        named = set(targets) if isinstance(targets, dict) and options["within"] == "nation" else None
        if named:  # nobody moves who was not named
            still = ~fit.areas["nation"].isin(named).to_numpy()
            assert np.array_equal(new[still], old[still])
    assert done > number / 8


@pytest.mark.parametrize("method", ["ratio", "difference", "mse", "optimal"])
def test_nested_targets_at_once_with_errors_of_their_own(fit, method):
    """Nations, and the whole that follows from none of them: groups A and B cross the nations."""
    crossed = replace(fit, areas=fit.areas.assign(half=np.where(np.arange(len(fit.areas)) % 2, "A", "B")))
    w, y = crossed.areas["pop"].to_numpy(), crossed.estimates["estimate"].to_numpy()

    def figures(column, factor):
        labels = crossed.areas[column]
        return {name: factor * (w @ (y * (labels == name))) for name in labels.unique()}

    nations, halves = figures("nation", 1.02), figures("half", 1.02)
    variances = {"nation": dict.fromkeys(nations, 0.04), "half": dict.fromkeys(halves, 0.09)}
    plain = crossed.benchmark(
        {
            "nation": {k: v / w[crossed.areas["nation"] == k].sum() for k, v in nations.items()},
            "half": {k: v / w[crossed.areas["half"] == k].sum() for k, v in halves.items()},
        },
        weights="pop",
        method=method,
        target_variance=variances,
    )
    done, new = plain.benchmarks[-1], plain.estimates["estimate"].to_numpy()
    for column, goals in (("nation", nations), ("half", halves)):
        for name, goal in goals.items():
            assert w @ (new * (crossed.areas[column] == name)) == pytest.approx(goal, rel=EXACT)
    expected = done.covariance(fit.joint.covariance())
    np.testing.assert_allclose(plain.joint.covariance(), expected, rtol=1e-9, atol=1e-12)
    draws = plain.draws(4000, seed=3).values
    gap = draws @ done.constraints.weights.toarray() - done.constraints.target
    np.testing.assert_allclose(gap.var(axis=0), done.target_variance, rtol=0.12)  # 4,000 draws: 2.2 % each
    with pytest.raises(SaeSpecError, match="within= has no meaning"):
        fit.benchmark({"nation": nations}, within="nation", weights="pop")


def test_shares_benchmarked_on_the_logit_stay_inside(shares):
    final = shares.benchmark(0.97, weights="pop", method="logit")
    w = shares.areas["pop"] / shares.areas["pop"].sum()
    assert w @ final.estimates["estimate"].to_numpy() == pytest.approx(0.97, rel=EXACT)
    assert final.estimates["estimate"].between(0, 1).all()
    assert final.draws(50, seed=1).values.max() <= 1.0


# aggregate


def test_aggregate_by_full_matrices(fit):
    table = fit.aggregate("nation", weights="pop").frame
    assert table["domain"].tolist() == ["N1", "N2", "N3"]
    matrix = fit.joint.covariance()
    for row, nation in enumerate(["N1", "N2", "N3"]):
        w = np.where(fit.areas["nation"] == nation, fit.areas["pop"], 0.0)
        w = w / w.sum()
        assert table["estimate"][row] == pytest.approx(w @ fit.estimates["estimate"].to_numpy(), rel=EXACT)
        assert table["mse"][row] == pytest.approx(w @ matrix @ w, rel=1e-10)
    assert table["n"].tolist() == [400, 400, 400]
    sums = fit.aggregate("nation").frame
    assert sums["estimate"].sum() == pytest.approx(fit.estimates["estimate"].sum(), rel=EXACT)


def test_a_unit_has_the_marks_of_any_of_its_rows(frame):
    status = np.where(frame["area"].isin(["A01", "A10"]), "ok; break lfs_2021", "ok")
    marked = FayHerriot("y ~ x", domain="area").fit(frame.assign(definition="v1", status=status))
    table = marked.aggregate("nation", weights="pop").frame
    assert table["definition"].tolist() == ["v1", "v1; break lfs_2021", "v1"]  # A01 and A10 lie in N2
    plain = FayHerriot("y ~ x", domain="area").fit(frame.assign(definition="v1"))
    assert plain.aggregate("nation", weights="pop")["definition"].tolist() == ["v1"] * 3


def test_aggregate_of_shares_needs_weights(shares):
    with pytest.raises(SaeSpecError, match="needs weights"):
        shares.aggregate("nation")
    table = shares.aggregate("nation", weights="pop").frame
    assert table["estimate"].between(0.3, 0.7).all()
    spread = shares.draws(4000, seed=1)
    w = np.where(shares.areas["nation"] == "N1", shares.areas["pop"], 0.0)
    assert (spread.values @ (w / w.sum())).var() == pytest.approx(table["mse"][0], rel=0.25)


@pytest.mark.parametrize("by", [3, None, [], {}, [["nation"]], ["nation", 3]])
def test_units_that_are_no_columns_are_refused(fit, by):
    with pytest.raises(SaeSpecError, match=r"by = .* names no column"):
        fit.aggregate(by, weights="pop")


def test_flag_fills_the_verdict_only(fit):
    assert (fit.estimates["flag"] == "e").all()
    assert (fit.estimates["policy"] == "").all()
    assert fit.estimates["publishable"].isna().all()
    flagged = fit.flag("eurostat_silc")
    assert (flagged.estimates["policy"] == "eurostat_silc").all()
    assert flagged.estimates["reason"].str.len().gt(0).any()
    np.testing.assert_array_equal(flagged.estimates["estimate"], fit.estimates["estimate"])


def test_a_percentage_as_the_target_of_shares_is_answered_first(shares):
    with pytest.raises(
        SaeInputError, match=r"1 of 1 targets are no shares.*: 72\.\nThe .* write 0\.72 for 72 %"
    ):
        shares.benchmark(72, weights="pop")
