"""All pairs: the dense matrix, adjusted p-values, the false discovery rate by simulation.

Tolerances: 1e-9 for the same sums in another order; rates within three standard errors of the simulation.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import sae
from sae.compare import pairs
from sae.errors import SaeInputError, SaeSpecError


def test_pairs_by_the_dense_matrix():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(60)], "x": rng.normal(size=60)})
    frame["y"] = 1.0 + frame["x"] + rng.normal(size=60)
    fit = sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.3))
    made, joint = pairs(fit).frame, fit.joint.covariance()
    i, j = np.triu_indices(60, 1)
    se = np.sqrt(joint[i, i] + joint[j, j] - 2 * joint[i, j])
    np.testing.assert_allclose(made["se"], se, rtol=1e-9)
    names = fit.estimates.frame["domain"].to_numpy()
    assert (made["domain"] == names[i]).all() and (made["against"] == names[j]).all()
    away = sae.compare.differences(fit, names[59]).frame
    np.testing.assert_allclose(
        made["p_value"][made["against"] == names[59]],
        2 * np.minimum(away["p_above"], 1 - away["p_above"]),
        rtol=1e-9,
    )
    expected = stats.false_discovery_control(made["p_value"])
    np.testing.assert_allclose(made["q_value"], expected, rtol=1e-12)
    dependent = pairs(fit, method="benjamini-yekutieli").frame
    np.testing.assert_allclose(
        dependent["q_value"], stats.false_discovery_control(made["p_value"], method="by"), rtol=1e-12
    )
    assert (made["verdict"] != "cannot be told apart").sum() > 80


def test_the_false_discovery_rate_of_all_pairs_by_simulation():
    """40 areas in 4 levels: pairs within a level are equal. BH keeps 5 %, BY far less."""
    rng = np.random.default_rng(2)
    level, levels = np.repeat([0.0, 1.0, 2.0, 3.0], 10), np.repeat(np.arange(4), 10)
    se = rng.uniform(0.2, 0.5, 40)
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(40)], "se": se})
    i, j = np.triu_indices(40, 1)
    equal = levels[i] == levels[j]
    rates = {"benjamini-hochberg": [], "benjamini-yekutieli": []}
    power = []
    for _ in range(60):
        table = frame.assign(estimate=level + se * rng.normal(size=40))
        for method, shares in rates.items():
            made = pairs(table, method=method)["verdict"].to_numpy() != "cannot be told apart"
            shares.append((made & equal).sum() / max(made.sum(), 1))
        power.append(made[~equal].mean())
    for method, shares in rates.items():
        mean, error = np.mean(shares), np.std(shares) / np.sqrt(60)
        print(f"{method}: {mean:.4f} (se {error:.4f})")
        assert mean < 0.05 + 3 * error
    assert np.mean(rates["benjamini-hochberg"]) > 0.005
    assert np.mean(power) > 0.5


def test_matrix_periods_and_missing_figures(tmp_path):
    frame = pd.DataFrame(
        {
            "domain": list("abc") * 2,
            "time": ["2023"] * 3 + ["2024"] * 3,
            "estimate": [1.0, 2.0, 2.01, 5.0, np.nan, 4.0],
            "se": 0.05,
            "n": 10,
        }
    )
    made = pairs(frame)
    assert made[["time", "domain", "against"]].to_numpy().tolist() == [
        ["2023", "a", "b"],
        ["2023", "a", "c"],
        ["2023", "b", "c"],
        ["2024", "a", "c"],
    ]
    assert "in no pair: b" in repr(made)
    with pytest.raises(SaeInputError, match="several sets, by time"):
        made.matrix()
    one = pairs(frame.head(3))
    assert one.matrix().to_numpy().tolist() == [[0, -1, -1], [1, 0, 0], [1, 0, 0]]
    assert [text.get_text() for text in one.plot().axes[0].get_yticklabels()] == ["c", "b", "a"]
    assert pd.read_csv(one.write(tmp_path / "pairs.csv"))["n_other"].tolist() == [10, 10, 10]
    with pytest.raises(SaeInputError, match="Fewer than two"):
        pairs(frame.head(1))
    with pytest.raises(SaeSpecError, match="fdr"):
        pairs(frame, fdr=5)
    with pytest.raises(SaeSpecError, match="method"):
        pairs(frame, method="bonferroni")
    with pytest.raises(SaeInputError, match="differ in unit"):
        pairs(frame.head(3).assign(unit=["share", "EUR", "EUR"]))
    many = pd.DataFrame({"domain": [f"A{k}" for k in range(5001)], "estimate": 0.5, "se": 0.1})
    with pytest.raises(SaeInputError, match="5,001 areas make"):
        pairs(many)


def test_groups_are_paired_within():
    frame = pd.DataFrame(
        {"city": list("aabb"), "birth": ["n", "f"] * 2, "estimate": [1, 2, 3, 4.0], "se": 0.1}
    )
    made = pairs(frame, within="birth", domain="city")
    assert made[["birth", "domain", "against", "verdict"]].to_numpy().tolist() == [
        ["n", "a", "b", "lower"],
        ["f", "a", "b", "lower"],
    ]
