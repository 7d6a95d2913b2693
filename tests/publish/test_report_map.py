"""Classes of a map: by hand, by the true probability, and that hidden areas have none."""

import numpy as np
import pytest
from scipy.stats import norm

from sae.publish.report_catalogue import catalogue
from sae.publish.report_map import SURE, UNSURE, class_labels, class_probabilities, classes
from sae.publish.report_rows import report_rows
from tests.publish.report_tables import table

WORDS = catalogue()


def test_probabilities_are_those_of_a_normal_with_the_spread_of_each_side():
    low, high = np.array([0.5 - 1.96 * 0.02]), np.array([0.5 + 1.96 * 0.04])
    made = class_probabilities(np.array([0.5]), low, high, [0.48, 0.54], 0.95)
    wanted = [norm.cdf(-1), 1 - norm.cdf(-1) - norm.cdf(-1), norm.cdf(-1)]
    np.testing.assert_allclose(made.ravel(), wanted, atol=1e-4)  # 1.96 for 1.959964
    known = class_probabilities(
        np.array([0.5, 0.54]), np.array([0.5, 0.54]), np.array([0.5, 0.54]), [0.54], 0.95
    )
    assert known.tolist() == [[1.0, 0.0], [0.0, 1.0]]  # without error: 0.54 belongs to "0.54 or more"
    assert not class_probabilities(np.array([0.5]), np.array([np.nan]), np.array([np.nan]), [0.4], 0.95).any()


def test_a_class_is_given_only_where_it_is_likely_enough():
    one = report_rows(table(areas=40, times=("2025",))).slices[0]
    cuts, own = classes(one, 0.95)
    assert 1 <= len(cuts) <= 4
    shown = one.frame["shown"].to_numpy()
    assert [code is None for code in own] == (~shown).tolist() and (~shown).sum() == 2
    ends = np.array([-np.inf, *cuts, np.inf])
    given = [code for code in own if code is not None]
    assert sum(code != UNSURE for code in given) >= 0.5 * len(given) and UNSURE in given
    for code, row in zip(given, one.shown.itertuples(), strict=True):
        sd = (row.ci_high - row.ci_low) / 2 / norm.ppf(0.975)
        inside = np.diff(norm.cdf((ends - row.estimate) / sd))
        if abs(inside.max() - SURE) > 0.02:  # the range is rounded, and not quite symmetric
            assert code == (inside.argmax() if inside.max() >= SURE else UNSURE)


def test_more_classes_where_the_ranges_are_narrow_and_two_where_they_are_wide():
    one = report_rows(table(areas=40, times=("2025",))).slices[0]
    counts = []
    for scale in (0.05, 1.0, 30.0):
        middle = one.frame["estimate"]
        ends = {name: middle + scale * (one.frame[name] - middle) for name in ("ci_low", "ci_high")}
        changed = type(one)(**{**vars(one), "frame": one.frame.assign(**ends)})
        cuts, own = classes(changed, 0.95)
        counts.append((len(cuts) + 1, sum(code == UNSURE for code in own)))
    assert counts[0][0] == 4 and counts[1][0] in (2, 3, 4) and counts[2] == (2, 38)


@pytest.mark.parametrize(
    ("cuts", "said"),
    [
        ([], []),
        ([0.5], ["below 50\u00a0%", "50\u00a0% or more"]),
        ([0.5, 0.6], ["below 50\u00a0%", "50\u00a0% to 60\u00a0%", "60\u00a0% or more"]),
    ],
)
def test_labels(cuts, said):
    assert class_labels(cuts, "share", WORDS) == said
