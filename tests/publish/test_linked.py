"""Which rows links between indicators and cells hide."""

import pandas as pd

import sae
from sae.publish.linked import protected, told
from sae.publish.rows import shown_rows


def test_shares_that_add_to_1_tell_the_one_that_is_hidden():
    cells = [
        ("A", "e", 0.5),
        ("A", "u", 0.2),
        ("A", "i", 0.3),
        ("B", "e", 0.6),
        ("B", "u", 0.1),
        ("B", "i", 0.3),
    ]
    frame = pd.DataFrame(cells, columns=["geo", "indicator", "estimate"])
    hidden = frame["geo"].eq("A") & frame["indicator"].eq("u")
    frame = frame.assign(domain=frame["geo"], level="area", unit="share", policy="own", publishable=~hidden)
    frame = frame.assign(n=hidden.map({True: 2, False: 90}), flag=hidden.map({True: ":c", False: ""}))
    links = pd.DataFrame({"weight": 90.0, "counted": 90.0, "shares": ["e + u + i"] * 6})
    table = sae.EstimateTable(frame, ("level",))
    before = told(table, links, ["area"], shown_rows(table))
    assert before[["indicator", "geo", "low", "high"]].values.tolist() == [["u", "A", 0.2, 0.2]]
    safe = protected(table, links, ["area"])
    assert safe["flag"].tolist() == [":c", ":c", ":c", "", "", ""]  # one share more leaves 0 to 0.5 only
    assert not len(told(safe, links, ["area"], shown_rows(safe)))
    alone = protected(table, links.drop(columns="shares"), ["area"])
    assert alone["flag"].tolist() == frame["flag"].tolist()
