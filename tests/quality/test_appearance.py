"""Which rows may appear, by hand."""

import pandas as pd

from sae.quality.appearance import confidential_rows, may_appear
from sae.tables import EstimateTable


def test_publishable_and_no_persons_answer():
    frame = pd.DataFrame({"domain": list("abcde"), "n": [50, 1, 50, 50, 50], "estimate": 0.5})
    frame["publishable"] = [True, True, True, False, True]
    frame["flag"] = ["e", "e", ":c", "e", "e"]
    frame["reason"] = ["", "", "", "", "direct columns confidential: n 2 < 4"]
    rows = EstimateTable(frame.assign(policy="p")).frame
    assert confidential_rows(rows).tolist() == [False, True, True, False, True]
    assert may_appear(rows).tolist() == [True, False, False, False, False]
