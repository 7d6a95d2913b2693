"""What leaves the office: which rows, which figures, and that nothing else can be got out of the files."""

import re
import zipfile

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import write_eurostat
from sae.publish import published, shown
from sae.tables import read_table
from sae.tables.ods import ods_rows

ENDINGS = (".csv", ".parquet", ".xlsx", ".ods")
RECORDS = [
    "n",
    "n_eff",
    "direct",
    "direct_se",
    "direct_cv",
    "estimate",
    "mse",
    "se",
    "cv",
    "ci_low",
    "ci_high",
]
RECORDS += ["gamma", "benchmark_factor"]  # the columns of numbers


def judged(seed=1, size=60):
    """A table as a Fay-Herriot fit gives it, judged: cells of 0, 1, 2, ... records, some unreliable."""
    draw = np.random.default_rng(seed)
    n = np.array([0, 1, 1, 2, 3, 3, *draw.integers(60, 200, size - 6)])
    synthetic, direct = draw.uniform(0.3, 0.8, size), np.where(n > 0, draw.uniform(0.4, 0.7, size), np.nan)
    psi = 0.24 / np.maximum(n, 1)
    gamma = np.where(n > 0, 0.02 / (0.02 + psi), 0.0)
    estimate = 0.98 * (np.where(n > 0, gamma * np.nan_to_num(direct), 0.0) + (1 - gamma) * synthetic)
    se = np.sqrt(np.where(n > 0, gamma * psi, 0.02))
    se[7:10] = 0.612345  # not reliable enough
    frame = pd.DataFrame(
        {
            "indicator": "employment_rate",
            "unit": "share",
            "time": "2025",
            "geo": [f"X{k:03}" for k in range(size)],
            "city": [f"=city {k}" if k % 2 else f"</script>{k}" for k in range(size)],
            "domain": [f"city {k}" for k in range(size)],
            "n": n,
            "direct": direct,
            "direct_se": np.where(n > 0, np.sqrt(psi), np.nan),
            "gamma": gamma,
            "benchmark_factor": 0.98,
            "estimate": estimate,
            "mse": se**2,
            "ci_low": estimate - 1.96 * se,
            "ci_high": estimate + 1.96 * se,
            "in_sample": n > 0,
            "method": "EBLUP",
        }
    )
    table = sae.EstimateTable.from_mse(frame, ("city",))
    verdict = sae.quality.assess(table.frame, "eurostat_lfs")
    return table.assign(**{name: verdict[name] for name in verdict})


def contents(table, folder):
    """The files as they are, by ending; of workbooks all their parts, unpacked."""
    files = {}
    for ending in ENDINGS:
        path = table.write(folder / f"t{ending}")
        files[ending] = path.read_bytes()
        if ending in (".xlsx", ".ods"):
            with zipfile.ZipFile(path) as book:
                files[ending] = b"\n".join(book.read(name) for name in sorted(book.namelist()))
    return files


def test_confidential_unreliable_and_absent_figures_are_hidden_the_others_are_not():
    table = judged()
    out = published(table)
    hidden = out["estimate"].isna()
    assert hidden.tolist() == [False, *[True] * 5, False, *[True] * 3, *[False] * 50]
    assert out["flag"][hidden].tolist() == [":c"] * 5 + [":u"] * 3
    assert out["reason"][hidden].tolist() == ["confidential"] * 5 + ["not reliable enough"] * 3
    assert out[["ci_low", "ci_high"]][hidden].isna().all(axis=None)
    # the policy by itself lets some of the model's estimates of so few records stand
    assert table["publishable"][1:6].any() and not table["flag"][1:6].str.startswith(":").all()


def test_few_columns_and_no_number_beside_the_figures():
    out = published(judged()).frame
    assert [*out] == [
        *("indicator", "definition", "unit", "geo", "geo_version", "time", "city"),
        *("estimate", "ci_low", "ci_high", "reliability", "flag", "reason"),
    ]
    assert (
        not out[["reliability", "flag", "reason"]]
        .apply(lambda text: text.str.contains("[0-9]"))
        .any(axis=None)
    )


def test_no_published_byte_depends_on_what_is_behind_a_hidden_figure(tmp_path):
    """Whatever the records of the hidden rows are, the files are the same: nobody can solve for them."""
    table = judged()
    before = contents(published(table), tmp_path)
    gone = published(table)["estimate"].isna().to_numpy()
    for seed in range(3):
        draw = np.random.default_rng(seed)
        columns = {name: table[name].to_numpy(dtype=float, na_value=np.nan).copy() for name in RECORDS}
        for name, values in columns.items():
            values[gone] = (
                draw.integers(2, 4, gone.sum()) if name == "n" else draw.uniform(0.1, 0.9, gone.sum())
            )
        assert contents(published(table.assign(**columns)), tmp_path) == before
        assert sae.publish.shown(table.assign(**columns)).frame.equals(sae.publish.shown(table).frame)


def test_no_hidden_direct_figure_stands_in_a_file_in_any_spelling(tmp_path):
    table = judged()
    files = contents(published(table), tmp_path)
    gone = published(table)["estimate"].isna()
    figures = pd.read_parquet(tmp_path / "t.parquet").select_dtypes("number").to_numpy()
    for name in ("direct", "estimate", "direct_se", "se", "gamma"):
        for value in table.frame.loc[gone, name].dropna():
            spellings = {repr(value)} | {f"{scale * value:.{d}f}" for scale in (1, 100) for d in range(4, 9)}
            spellings |= {text.replace(".", ",") for text in spellings}
            for ending in (".csv", ".xlsx", ".ods"):
                text = files[ending].decode()
                assert not [spelling for spelling in spellings if spelling in text]
            assert not np.isclose(figures, value, rtol=0, atol=1e-5).any()


def test_the_pull_of_few_records_cannot_be_seen_for_they_have_no_figure():
    """Who knows the synthetic part solves for direct up to rounding over γ; but these rows have no figure."""
    table = judged()
    out = published(table)
    few = table["n"].between(1, 3)
    assert few.sum() == 5 and out["estimate"][few].isna().all()


def test_csv_and_xlsx_have_colons_parquet_has_gaps_and_all_read_back(tmp_path):
    out = published(judged())
    out.write(tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()
    assert re.search(r",:,:,:,,:c,confidential$", lines[2])
    assert ",'=city 1," in lines[2] and ",</script>0," in lines[1]  # the guard of every table
    for ending in ENDINGS:
        back = read_table(out.write(tmp_path / f"t{ending}"))
        pd.testing.assert_series_equal(back["estimate"], out["estimate"])
        assert back["city"].tolist() == out["city"].tolist()


def test_xlsx_shows_whole_percentages_where_the_figures_are(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    out = published(judged())
    book = openpyxl.load_workbook(out.write(tmp_path / "t.xlsx"))
    assert book.sheetnames == ["published", "notes", "columns", "flags"]
    sheet = book["published"]
    column = [*out.frame].index("estimate") + 1
    cells = [sheet.cell(row + 2, column) for row in range(len(out))]
    assert {cell.value for cell, gone in zip(cells, out["estimate"].isna(), strict=True) if gone} == {":"}
    assert cells[0].number_format == "0%" and cells[0].value == out["estimate"][0]


def test_the_notes_of_a_workbook_say_what_where_from_how_and_what_not(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    out = published(judged(), title="Cities", source="=EU-LFS 2025")
    for ending in (".xlsx", ".ods"):
        out.write(tmp_path / f"t{ending}")
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    notes = list(book["notes"].values)[1:]
    assert dict(ods_rows(tmp_path / "t.ods"))["notes"][1:] == notes
    by_heading = dict(reversed(notes))
    assert by_heading["Title"] == "Cities" and by_heading["Source"] == "=EU-LFS 2025"
    assert by_heading["Indicator"] == "Employment rate, 20–64 (employment_rate)"
    assert by_heading["Rows"] == "60, 52 of them with a figure" and by_heading["Period"] == "2025"
    assert "2019/2240" in by_heading["Policy"]  # the law behind it
    assert any("records in the sample below 4 withheld as confidential" in text for _, text in notes)
    assert any("order of areas may be chance" in text for _, text in notes)
    flags = {flag: rows for flag, _, rows in list(book["flags"].values)[1:]}
    assert flags[":c"] == 5 and flags[":u"] == 3 and sum(flags.values()) == 60
    columns = dict(list(book["columns"].values)[1:])
    assert list(columns) == list(out.frame) and "rounded down" in columns["ci_low"]


def test_sdmx_and_tsv_hold_what_the_published_table_holds(tmp_path):
    out = published(judged())
    table = out.as_eurostat(dataflow="XX:TEST(1.0)")
    path = write_eurostat(table, tmp_path / "t.csv")
    text = path.read_text(encoding="utf-8")
    assert ",SE," not in text.splitlines()[0] and "CI_LOW" in text.splitlines()[0]
    back = sae.auxiliary.read_eurostat(path).frame
    assert back["value"].isna().sum() == 8
    assert back["flag"].isin(["e", "eu", "c", "u"]).all()
    tsv = write_eurostat(out.as_eurostat(intervals=False), tmp_path / "t.tsv", format="tsv").read_text(
        encoding="utf-8"
    )
    assert ": c" in tsv and ": u" in tsv


def test_a_table_that_no_policy_judged_is_refused():
    table = judged().assign(policy="")
    with pytest.raises(sae.errors.SaeInputError, match="60 of 60 rows were not judged by any policy"):
        published(table)


def test_a_fit_is_published_as_its_table_is():
    frame = pd.DataFrame(
        {"domain": [f"A{k}" for k in range(9)], "y": np.linspace(0.4, 0.6, 9), "x": range(9)}
    )
    fit = sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.001, n=90)).flag("eurostat_lfs")
    pd.testing.assert_frame_equal(published(fit).frame, published(fit.estimates).frame)
    pd.testing.assert_frame_equal(shown(fit).frame, shown(fit.estimates).frame)
    with pytest.raises(sae.errors.SaeSpecError, match="not a DataFrame"):
        published(fit.to_frame())


def test_what_the_policy_could_not_judge_is_hidden_with_its_reason_and_its_break():
    table = judged()
    flag = table["flag"].copy()
    flag[6], flag[10], flag[2] = "eb", "eb", flag[2] + "b"
    publishable = table["publishable"].copy()
    publishable[6] = pd.NA
    out = published(table.assign(flag=flag, publishable=publishable))
    assert out["flag"][[2, 6, 10]].tolist() == [":cb", ":b", "eb"]
    assert out["reason"][[2, 6, 10]].tolist() == ["confidential", "the policy could not judge it", ""]


def test_a_domain_stands_where_there_are_no_groups_and_money_is_rounded_by_size(tmp_path):
    frame = pd.DataFrame({"domain": ["A", "B"], "estimate": [18_234.5, 21_910.0], "mse": [400.0**2, 2e3**2]})
    frame = frame.assign(ci_low=[17_401.0, 18_010.0], ci_high=[19_012.0, 25_820.0], n=[90, 80])
    table = sae.EstimateTable.from_mse(frame.assign(unit="EUR", publishable=True, policy="own"))
    out = published(table)
    assert out[["domain", "estimate", "ci_low", "ci_high"]].to_numpy(object).tolist() == [
        ["A", 18_200.0, 17_400.0, 19_100.0],
        ["B", 22_000.0, 18_000.0, 26_000.0],
    ]
    assert ",18200,17400,19100," in out.write(tmp_path / "t.csv").read_text(encoding="utf-8")
    assert "2 with a figure" in repr(out)


def test_a_figure_of_a_register_has_no_error_and_is_not_rounded_for_one():
    """1.9 % of the foreign residents were naturalised: "2 %" would be what an unknown error leaves of it."""
    frame = pd.DataFrame({"domain": ["A", "B"], "estimate": 0.01916, "unit": "share", "policy": "own"})
    table = sae.EstimateTable(frame.assign(method=["register", "direct"], publishable=True))
    assert published(table)["estimate"].tolist() == [0.019, 0.02]
