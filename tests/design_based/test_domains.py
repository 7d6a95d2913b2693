"""Domains of direct estimates: the labels of their groups."""

import pandas as pd
import pytest

import sae


def test_labels_that_differ_by_a_zero_in_front_are_warned_of_where_they_are_called():
    frame = pd.DataFrame({"w": 1.0, "region": ["01", "1", "02", "02"], "works": [1, 0, 1, 0]})
    survey = sae.Survey.from_frame(frame, weights="w")
    with pytest.warns(sae.errors.SaeWarning, match=r"region: '01' and '1' differ only by zeros") as caught:
        sae.direct(survey, "works", by="region")
    assert caught[0].filename == __file__
