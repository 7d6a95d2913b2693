"""Publication policies at their limits, worked out by hand."""

from dataclasses import fields
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError, SaeSpecError
from sae.quality import Policy, Rule, assess, load_policy, policy_names


def table(method="direct", **columns):
    """One row per value of the longest column; a share of 0.5 with a small error unless said otherwise."""
    base = {
        "unit": "share",
        "estimate": 0.5,
        "se": 0.01,
        "n": 100,
        "method": method,
        "geo": "PT17",
        "time": "2024",
    }
    length = max((len(v) for v in columns.values() if isinstance(v, list)), default=1)
    return pd.DataFrame({**base, **columns}, index=range(3, 3 + length))


def flags(frame, policy):
    return assess(frame, policy)["flag"].tolist()


def test_the_index_and_the_columns():
    result = assess(table(n=[10, 60]), "eurostat_silc")
    assert result.index.tolist() == [3, 4]
    assert result.columns.tolist() == ["reliability", "flag", "publishable", "reason", "policy"]
    assert result["policy"].tolist() == ["eurostat_silc"] * 2


# EU-SILC: suppressed below 20 records or above 50 % item non-response, flagged below 50 or above 20 %


def test_silc_sample_size_limits():
    result = assess(table(n=[19, 20, 49, 50, None]), "eurostat_silc")
    assert result["flag"].tolist() == [":u", "u", "u", "", ":u"]
    assert result["publishable"].tolist() == [False, True, True, True, False]
    assert result["reliability"].tolist()[:4] == [
        "not publishable",
        "low reliability",
        "low reliability",
        "reliable",
    ]
    assert result["reason"].tolist()[0].startswith("n 19 < 20; item non-response not in the table")
    assert result["reason"].tolist()[4].startswith("n not known")


def test_silc_item_non_response_limits():
    result = assess(table(pcmiss=[0.20, 0.2001, 0.50, 0.5001]), "eurostat_silc")
    assert result["flag"].tolist() == ["", "u", "u", ":u"]
    assert result["reason"].tolist() == [
        "",
        "item non-response 20.01 % > 20.00 %",
        "item non-response 50.0 % > 20.0 %",
        "item non-response 50.01 % > 50.00 %",
    ]


def test_silc_strictest_rule_wins_and_all_reasons_are_named():
    result = assess(table(n=[30], pcmiss=[0.6]), "eurostat_silc").iloc[0]
    assert result["flag"] == ":u"
    assert result["reason"] == "n 30 < 50; item non-response 60.0 % > 50.0 %"


def test_silc_judges_a_model_row_by_its_own_error_not_by_n():
    # on p = 0.5 the limits 16.5 % and 33.3 % are standard errors of 0.0825 and 0.1665
    result = assess(
        table("fay_herriot", n=12, se=[0.0825, 0.0826, 0.1665, 0.1666], pcmiss=0.0), "eurostat_silc"
    )
    assert result["flag"].tolist() == ["e", "eu", "eu", ":u"]
    assert result["reason"].tolist()[3] == "CV 33.32 % > 33.30 %"


def test_silc_model_share_near_one_is_judged_by_its_smaller_side():
    # p = 0.95, se = 0.01: CV 1 %, but 20 % of the complement
    result = assess(table("fay_herriot", estimate=[0.95, 0.05], se=0.01, pcmiss=0.0), "eurostat_silc")
    assert result["flag"].tolist() == ["eu", "eu"]
    # the table prints the CV of p beside it, 1 %: the reason says that it is about the other side
    assert result["reason"].tolist() == ["CV of 1 − p 20.0 % > 16.5 %", "CV 20.0 % > 16.5 %"]
    euros = assess(table("fay_herriot", unit="EUR", estimate=0.95, se=0.01, pcmiss=0.0), "eurostat_silc")
    assert euros["flag"].tolist() == ["e"]


# EU-LFS: at least four records; two limits per country on the estimated population


def test_lfs_never_three_records_or_fewer():
    policy = {"base": "eurostat_lfs", "limits": [0, 0]}
    result = assess(table(n=[1, 3, 4], population=1e6), policy)
    assert result["flag"].tolist() == [":c", ":c", ""]
    assert result["reason"].tolist() == ["n 1 < 4", "n 3 < 4", ""]


def test_lfs_country_limits_by_frequency():
    policy = {
        "base": "eurostat_lfs",
        "limits": {"PT": {"annual": [3000, 6000], "quarterly": [7500, 9000]}, "AT": [1, 2]},
    }
    frame = table(
        population=[2999, 3000, 5999, 6000, 7000, 1.5],
        time=["2024"] * 4 + ["2024-Q1", "2024"],
        geo=["PT17"] * 5 + ["AT13"],
    )
    result = assess(frame, policy)
    assert result["flag"].tolist() == [":u", "u", "u", "", ":u", "u"]
    assert result["reason"].tolist()[0] == "estimated population 2,999 < 3,000"


def test_lfs_without_limits_says_so_and_claims_nothing():
    result = assess(table(n=[3, 10], population=5000.0), "eurostat_lfs")
    assert result["publishable"].tolist()[0] is False
    assert result["publishable"].isna().tolist() == [False, True]
    assert result["reliability"].tolist() == ["not publishable", "not assessed"]
    assert result["reason"].tolist()[1] == "no limits given for the population"
    other = assess(table(geo="ES30", population=5000.0), {"base": "eurostat_lfs", "limits": {"PT": [1, 2]}})
    assert other["reliability"].tolist() == ["not assessed"]
    no_column = assess(table(), {"base": "eurostat_lfs", "limits": [1, 2]})
    assert "estimated population not in the table" in no_column["reason"].tolist()[0]


def test_lfs_rate_by_the_smaller_of_numerator_and_denominator_where_asked():
    rules = [{"measure": "population", "smaller_side": True}]
    policy = {"base": "eurostat_lfs", "rules": rules, "limits": [1000, 2000]}
    assert flags(table(estimate=[0.1, 0.25, 0.9], population=6000.0), policy) == [":u", "u", ""]


def test_lfs_model_row_of_a_tiny_cell_stands_but_its_direct_columns_do_not():
    result = assess(table("fay_herriot", n=[2, 0, 10], in_sample=[True, False, True]), "eurostat_lfs")
    assert result["flag"].tolist() == ["e", "eu", "e"]
    assert result["reason"].tolist() == [
        "direct columns confidential: n 2 < 4",
        "no record in the sample: predicted by the model alone",
        "",
    ]


# Statistics Canada: CV up to 16.5 % acceptable, up to 33.3 % marginal


@pytest.mark.parametrize(("method", "mark"), [("direct", ""), ("fay_herriot", "e")])
def test_statcan_bands(method, mark):
    result = assess(table(method, unit="EUR", estimate=1000.0, se=[165.0, 165.1, 333.0, 333.1]), "statcan")
    assert result["flag"].tolist() == [mark, f"{mark}u", f"{mark}u", ":u"]
    assert result["reliability"].tolist() == ["acceptable", "marginal", "marginal", "unacceptable"]
    assert result["reason"].tolist()[1] == "CV 16.51 % > 16.50 %"


def test_statcan_with_the_smaller_side_where_the_user_says_so():
    rule = {"measure": "cv", "flag_above": 0.165, "suppress_above": 0.333}
    frame = table(estimate=[0.9], se=[0.02])  # CV 2.2 %, of the complement 20 %
    assert flags(frame, "statcan") == [""]
    assert flags(frame, {"base": "statcan", "rules": [{**rule, "smaller_side": True}]}) == ["u"]


@pytest.mark.parametrize("se", [0.0, None])
def test_a_standard_error_of_zero_is_never_certainty(se):
    result = assess(table(se=[se]), "statcan").iloc[0]
    assert result["flag"] == ":u" and not result["publishable"]
    assert result["reason"].startswith("no CV: standard error missing or 0")


def test_aggregate_of_model_estimates_is_model_based():
    assert flags(table("aggregate of fay_herriot", n=5000), "statcan") == ["e"]


def test_table_of_direct_estimates_has_no_method_and_is_direct():
    assert flags(table(n=[60]).drop(columns="method"), "eurostat_silc") == [""]


@pytest.mark.parametrize("policy", ["eurostat_silc", "eurostat_lfs", "statcan"])
@pytest.mark.parametrize("method", ["direct", "fay_herriot"])
def test_no_estimate_is_a_row_with_its_reason(policy, method):
    result = assess(table(method, estimate=[None, None], se=None, n=[0, 7]), policy)
    assert result["flag"].tolist() == [":", ":"]
    assert result["publishable"].tolist() == [False, False]
    assert result["reason"].tolist() == ["no estimate: no record in the sample", "no estimate"]


def test_share_outside_its_range_is_not_published():
    result = assess(table("fay_herriot", estimate=[1.02, -0.01, 1.0], se=0.001), "statcan")
    assert result["publishable"].tolist() == [False, False, True]
    assert "a share of 1.02 lies outside 0 to 1" in result["reason"].tolist()[0]


@pytest.mark.parametrize(("answer", "flag"), [("publish", "e"), ("flag", "eu"), ("suppress", ":u")])
def test_out_of_sample_areas(answer, flag):
    frame = table("fay_herriot", n=[0], in_sample=[False])
    assert flags(frame, {"base": "statcan", "out_of_sample": answer}) == [flag]


def test_own_policy_from_a_file(tmp_path):
    path = tmp_path / "office.toml"
    path.write_text(
        'words = ["fit", "caution", "no"]\n'
        '[[rules]]\nmeasure = "n_eff"\nsuppress_below = 30\n'
        '[[rules]]\nmeasure = "ci_width"\nflag_above = 0.10\nsuppress_above = 0.30\n',
        encoding="utf-8",
    )
    frame = table(estimate=0.42, n_eff=[29.9, 30, 30, 30], ci_low=0.4, ci_high=[0.45, 0.5, 0.501, 0.701])
    result = assess(frame, path)
    assert result["flag"].tolist() == [":u", "", "u", ":u"]
    assert result["reliability"].tolist() == ["no", "fit", "caution", "no"]
    assert result["reason"].tolist()[:3] == [
        "effective n 29.9 < 30",
        "",
        "width of the interval 10.1 % > 10.0 %",
    ]
    assert result["policy"].tolist()[0] == "office"
    assert assess(frame, str(path)).equals(result)


def test_shipped_policies_hold_what_their_source_says():
    assert policy_names() == ("eurostat_lfs", "eurostat_silc", "statcan")
    for name in policy_names():
        policy = load_policy(name)
        assert policy.name == name and policy.title and policy.source
        # every policy answers for direct and for model-based rows
        kinds = {rule.applies_to for rule in policy.rules}
        assert "all" in kinds or {"direct", "model"} <= kinds
    assert load_policy("eurostat_lfs").limits is None


@pytest.mark.parametrize(
    ("policy", "match"),
    [
        ("eurostat_slic", "no policy 'eurostat_slic'; did you mean 'eurostat_silc'"),
        ("missing.toml", "no policy file missing.toml"),
        ({"rules": []}, "has no rules"),
        ({"name": "x"}, "has no rules"),
        ({"rules": [{"flag_below": 3}]}, "has no measure"),
        ({"rules": [{"measure": "size", "flag_below": 3}]}, "measure = 'size'"),
        ({"rules": [{"measure": "n"}]}, "has no limit"),
        ({"rules": [{"measure": "cv", "flag_above": 16.5}]}, "Give a fraction"),
        (
            {"rules": [{"measure": "n", "flag_below": 20, "suppress_below": 50}]},
            "suppresses rows that it does not",
        ),
        ({"rules": [{"measure": "n", "below": 20}]}, "no field below"),
        ({"rules": [{"measure": "n", "flag_below": "many"}]}, "not a number"),
        ({"base": "statcan", "limits": [1, 2]}, "no rule that uses them"),
        ({"base": "eurostat_lfs", "limits": {"PT": [6000, 3000]}}, r"limits.PT = \[6000, 3000\]"),
        ({"base": "statcan", "out_of_sample": "maybe"}, "out_of_sample = 'maybe'"),
        ({"base": "statcan", "flags": 1}, "no field flags"),
    ],
)
def test_what_a_policy_cannot_hold_is_refused_by_name(policy, match):
    with pytest.raises(SaeSpecError, match=match):
        load_policy(policy)


def test_broken_policy_file(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("rules = [", encoding="utf-8")
    with pytest.raises(SaeSpecError, match=r"p.toml is not a TOML file"):
        load_policy(path)


def test_table_without_errors_and_percentages_are_refused():
    with pytest.raises(SaeInputError, match="no column 'se'"):
        assess(table().drop(columns="se"), "statcan")
    with pytest.raises(SaeInputError, match="pcmiss goes from 12 to 12"):
        assess(table(pcmiss=[12.0]), "eurostat_silc")


# what a file or a mapping may hold, and no more


N = {"measure": "n", "suppress_below": 20}


@pytest.mark.parametrize(
    ("policy", "match"),
    [
        (None, "None is no policy"),
        (5, "5 is no policy"),
        (["statcan"], r"\['statcan'\] is no policy"),
        ({"rules": [N], "words": "abc"}, "words = 'abc', not three different words"),
        ({"rules": [N], "words": ["a", "b"]}, "three different words"),
        ({"rules": [N], "words": ["a", "a", "b"]}, "three different words"),
        ({"rules": [N], "words": ["a", "", "b"]}, "three different words"),
        ({"rules": [N], "words": ["a", 2, "b"]}, "three different words"),
        ({"rules": [N], "words": ["a", "not assessed", "b"]}, "three different words"),
        ({"rules": "n < 20"}, "rules of the policy own are 'n < 20'"),
        ({"rules": N}, "not a list of rules"),
        ({"rules": ["n"]}, "not a list of rules"),
        ({"rules": None}, "not a list of rules"),
        ({"rules": [N], "title": 3}, "title is 3, which is no text"),
        ({"rules": [N], "name": 3}, "name is 3, which is no text"),
        ({"rules": [N], "name": " "}, "empty name"),
        ({"rules": [N], "out_of_sample": ["flag"]}, r"out_of_sample = \['flag'\]"),
        ({"rules": [{**N, "measure": ["n"]}]}, r"measure = \['n'\]"),
        ({"rules": [{**N, "suppress_below": "20"}]}, "'20', which is not a number. It stands in quotation"),
        ({"rules": [{**N, "suppress_below": True}]}, "True, which is not a number"),
        ({"rules": [{**N, "suppress_below": float("nan")}]}, "nan, which is not a number"),
        ({"rules": [{**N, "suppress_below": float("inf")}]}, "inf, which is not a number"),
        ({"rules": [{**N, "suppress_below": 10**400}]}, "which is not a number"),
        ({"rules": [{**N, "suppress_below": 10**6000}]}, "too long to print, which is not a number"),
        ({"rules": [{**N, "suppress_below": -3}]}, "which no row can be below"),
        ({"rules": [{"measure": "n", "suppress_above": 20}]}, "would turn away the better rows"),
        ({"rules": [{"measure": "cv", "flag_below": 0.1}]}, "would turn away the better rows"),
        ({"rules": [{"measure": "pcmiss", "flag_above": 20}]}, "Give a fraction"),
        (
            {"rules": [{"measure": "cv", "flag_above": 0.1, "smaller_side": "no"}]},
            "smaller_side = 'no', which is not a truth value",
        ),
        ({"rules": [{**N, "smaller_side": True}]}, "has a meaning for cv and population only"),
        ({"base": "eurostat_lfs", "limits": "ab"}, "limits = 'ab' is not a pair"),
        ({"base": "eurostat_lfs", "limits": ["1", "2"]}, "is not a pair"),
        ({"base": "eurostat_lfs", "limits": [1, float("nan")]}, "is not a pair"),
        ({"base": "eurostat_lfs", "limits": [1, 2, 3]}, "is not a pair"),
        ({"base": "eurostat_lfs", "limits": {}}, "limits is empty"),
        ({"base": "eurostat_lfs", "limits": {1: [1, 2]}}, "names the country 1"),
        ({"base": "eurostat_lfs", "limits": {"PT": {"anual": [1, 2]}}}, "limits.PT has no field anual"),
        ({"base": "eurostat_lfs", "limits": {"PT": {}}}, "limits.PT is empty"),
        (
            {"base": "eurostat_lfs", "limits": {"PT": {"annual": {"a": 1}}}},
            "limits.PT.annual = .* not a pair",
        ),
        ({"base": 3}, "3 is no policy"),
        ({"base": "eurostat_lsf"}, "did you mean 'eurostat_lfs'"),
    ],
)
def test_every_field_is_checked_by_its_kind(policy, match):
    with pytest.raises(SaeSpecError, match=match):
        load_policy(policy)


def test_a_policy_that_is_its_own_base_is_named(tmp_path):
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text('base = "one.toml"\n', encoding="utf-8")
    with pytest.raises(SaeSpecError, match=r"one\.toml is its own base"):
        load_policy(one)
    one.write_text('base = "two.toml"\n', encoding="utf-8")
    two.write_text('base = "one.toml"\n', encoding="utf-8")
    with pytest.raises(SaeSpecError, match=r"own base: .*one\.toml, .*two\.toml, .*one\.toml"):
        load_policy(one)
    circle = {}
    circle["base"] = circle
    with pytest.raises(SaeSpecError, match="stands on more than 20 others"):
        load_policy(circle)


def test_the_base_of_a_file_lies_beside_it(tmp_path, monkeypatch):
    (tmp_path / "office").mkdir()
    (tmp_path / "office" / "ours.toml").write_text('base = "rules.toml"\nout_of_sample = "suppress"\n')
    (tmp_path / "office" / "rules.toml").write_text(
        '\ufeff[[rules]]\nmeasure = "n"\nflag_below = 30\n', encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    policy = load_policy("office/ours.toml")
    assert (policy.name, policy.out_of_sample, policy.rules[0].flag_below) == ("ours", "suppress", 30)


def test_a_changed_policy_does_not_bear_the_name_of_the_packages_own(tmp_path):
    assert load_policy({"base": "statcan", "out_of_sample": "publish"}).name == "statcan, changed"
    assert load_policy({"base": "statcan", "rules": [N], "name": "statcan"}).name == "statcan, changed"
    path = tmp_path / "statcan.toml"
    path.write_text('[[rules]]\nmeasure = "n"\nflag_below = 1\n', encoding="utf-8")
    assert load_policy(path).name == "statcan, changed"
    # limits are what a country has to add, and words are only words
    assert load_policy({"base": "eurostat_lfs", "limits": [1, 2]}).name == "eurostat_lfs"
    assert load_policy({"base": "statcan", "words": ["a", "b", "c"]}).name == "statcan"
    assert load_policy({"base": "statcan", "out_of_sample": "publish", "name": "mine"}).name == "mine"


@pytest.mark.parametrize(
    "content",
    [
        b"rules = " + b"[" * 5000 + b"]" * 5000,
        b"limits = " + b"1" * 5000,
        b"\xff\xfe",
        b"name = 'a'\nname = 'b'",
        b"[[rules]]\nmeasure = 'n'\nsuppress_below = 1_",
    ],
)
def test_files_that_are_no_toml_are_named(tmp_path, content):
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(SaeSpecError, match=r"p\.toml is not a TOML file"):
        load_policy(path)
    with pytest.raises(SaeSpecError, match="no policy file"):
        load_policy(tmp_path / "folder.toml")


# mutated policies: a policy whose every field is right, or an error that names what is wrong

ODD = [None, "", "abc", "20", 0, 1, -1, 20, 0.5, 1e9, float("nan"), True, [], ["a", "b", "c"], [1, 2], {}]
ODD += ["n", "cv", "flag", "suppress", "statcan", {"PT": [1, 2]}, [N], {"measure": "n"}, 10**400]
ODD += ["ci_width", "direct", "model", "note", "confidentiality", "population"]


def whole_policies():
    for name in policy_names():
        policy = load_policy(name)
        rules = [{f.name: getattr(rule, f.name) for f in fields(Rule)} for rule in policy.rules]
        rules = [{key: value for key, value in rule.items() if value is not None} for rule in rules]
        yield {"name": name, "rules": rules, "words": list(policy.words), "out_of_sample": "flag"}
        yield {"base": name}
    yield {"base": "eurostat_lfs", "limits": {"PT": {"annual": [1, 2]}}}


def mutate(value, rng):
    """Replace, remove, double or rename something at any depth."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        keys, out = list(value), dict(value)
        key = keys[int(rng.integers(len(keys)))]
        kind = rng.random()
        if kind < 0.15:
            del out[key]
        elif kind < 0.25:
            out[f"{key}s"] = out.pop(key)
        elif kind < 0.35:
            out[["flag_above", "suppress_above", "limits", "smaller_side", 3][int(rng.integers(5))]] = value[
                key
            ]
        else:
            out[key] = mutate(value[key], rng)
        return out
    if isinstance(value, list) and value and rng.random() < 0.8:
        k = int(rng.integers(len(value)))
        middle = [] if rng.random() < 0.2 else [mutate(value[k], rng)] * int(rng.integers(1, 3))
        return [*value[:k], *middle, *value[k + 1 :]]
    return ODD[int(rng.integers(len(ODD)))]


@pytest.mark.parametrize("number", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_policies_are_policies_or_errors_by_name(number):
    rng = np.random.default_rng(20261128)
    whole, frame, loaded = list(whole_policies()), table(n=[5, 60], population=1.0), 0
    for _ in range(number):
        given = mutate(whole[int(rng.integers(len(whole)))], rng)
        if rng.random() < 0.3:
            given = mutate(given, rng)
        try:
            policy = load_policy(given)
        except SaeSpecError as error:
            assert any(word in str(error).lower() for word in ("policy", "rule", "limits"))
            continue
        loaded += 1
        assert isinstance(policy, Policy) and all(isinstance(rule, Rule) for rule in policy.rules)
        assert all(isinstance(word, str) for word in policy.words) and len(set(policy.words)) == 3
        for rule in policy.rules:
            assert isinstance(rule.smaller_side, bool)
            for name in ("suppress_below", "flag_below", "suppress_above", "flag_above"):
                limit = getattr(rule, name)
                assert limit is None or 0 <= float(limit) < np.inf
                assert not isinstance(limit, bool | str)
        try:
            assess(frame, policy)
        except SaeSpecError as error:  # the width of a share in percent shows only with the table
            assert "ci_width by more than 1" in str(error)
    assert number / 20 < loaded < number


@pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_policy_files_are_policies_or_errors_by_name(tmp_path, number):
    rng = np.random.default_rng(20261128)
    folder = resources.files("sae.quality") / "policies"
    texts = [(folder / f"{name}.toml").read_text(encoding="utf-8") for name in policy_names()]
    pieces = [
        "=",
        '"',
        "[",
        "]",
        "\n",
        "1",
        "-",
        "true",
        "base = 'mutant.toml'",
        "[[rules]]",
        "limits",
        "\x00",
        "é",
    ]
    path, loaded = tmp_path / "mutant.toml", 0
    for _ in range(number):
        text = texts[int(rng.integers(len(texts)))]
        for _ in range(int(rng.integers(1, 4))):
            start = int(rng.integers(len(text)))
            stop = start + int(rng.integers(0, 12))
            text = text[:start] + pieces[int(rng.integers(len(pieces)))] + text[stop:]
        path.write_bytes(text.encode("utf-8" if rng.random() < 0.95 else "utf-16"))
        try:
            policy = load_policy(path)
        except SaeSpecError as error:
            assert any(word in str(error) for word in ("mutant", "rule", "limits", "policy"))
            continue
        loaded += 1
        assert policy.rules and len(policy.words) == 3
    assert loaded > number / 10
