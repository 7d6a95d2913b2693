"""A result as a workbook: a sheet for every table that it has, with the notes of the fit."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.tables import Covariates, DirectEstimates, EstimateTable, Origin
from sae.tables.ods import ods_rows


def rows(size=24):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"domain": [f"={k:02d}" for k in range(size)], "x": rng.random(size)})
    frame["n"] = rng.integers(20, 300, size)
    frame["y"] = 0.3 + 0.3 * frame["x"] + rng.normal(0, 0.04, size)
    frame["year"] = np.repeat(["2024", "2025"], size // 2)
    return frame.assign(vardir=0.2 / frame["n"])


@pytest.fixture(scope="module")
def fit():
    return sae.FayHerriot("y ~ x").fit(rows()).flag("statcan")


def test_every_table_of_a_fit_is_a_sheet(fit, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(fit.write(tmp_path / "fit.xlsx"))
    learnt = ["coefficients", "variance components", "diagnostics", "residuals"]
    assert book.sheetnames == ["estimates", *learnt, "notes", "columns", "flags"]
    assert all(sheet.freeze_panes == "A2" for sheet in book.worksheets)
    (_, intercept, x) = book["coefficients"].values
    assert intercept[:2] == ("Intercept", fit.coefficients["coef"].iloc[0]) and x[0] == "x"
    assert book["coefficients"]["B2"].number_format == "#,##0.000"  # its error is some hundredths
    components = dict(list(book["variance components"].values)[1:])
    assert components == fit.variance_components.to_dict()
    assert len(list(book["residuals"].values)) == 25
    notes = dict(list(book["notes"].values)[1:])
    assert 'formula = "y ~ x"' in notes["Specification"] and notes["Level of the intervals"] == "95 %"
    assert notes["Run"] == fit.provenance["run"] and "Statistics Canada" in notes["Policy"]
    cells = [cell for sheet in book.worksheets for row in sheet.iter_rows() for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f"]


def test_the_estimates_come_back_from_every_file_and_ods_holds_the_same(fit, tmp_path):
    for ending in ("csv", "parquet", "xlsx", "ods"):
        path = fit.write(tmp_path / f"fit.{ending}")
        back = EstimateTable.read(path).frame
        pd.testing.assert_frame_equal(back, fit.estimates.frame, rtol=0, atol=0)
        assert path.read_bytes() == fit.write(tmp_path / f"again.{ending}").read_bytes()
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(tmp_path / "fit.xlsx")
    for name, cells in ods_rows(tmp_path / "fit.ods"):
        read = [tuple(row) for row in book[name].values]
        width = len(read[0])
        assert [tuple([*row, *[None] * (width - len(row))]) for row in cells] == read


def test_several_fits_seeds_covariates_and_benchmarks_are_on_record(tmp_path):
    frame = rows().rename(columns={"y": "estimate"}).assign(indicator="y", city=rows()["domain"])
    direct = DirectEstimates(frame.drop(columns="x"), ("city", "year"), log=("smoothed",))
    areas = Covariates(frame[["city", "year", "x"]], {"x": Origin("Register", "share of x", "2024")})
    fit = sae.FayHerriot("y ~ x", per="year").fit(direct, areas=areas)
    fit = fit.benchmark({"2024": 0.5, "2025": 0.4}, within="year", weights="n")
    sheets = dict(ods_rows(fit.write(tmp_path / "fit.ods")))
    assert sheets["coefficients"][0][:2] == ("year", "term") and len(sheets["coefficients"]) == 5
    assert sheets["variance components"][1][0] == "2024" and sheets["diagnostics"][2][0] == "2025"
    notes = sheets["notes"]
    assert ("Benchmark", "2 targets by ratio") in notes
    assert ("Covariate x", "Register, 2024 (share of x)") in notes and (
        "Direct estimates",
        "smoothed",
    ) in notes
