"""The benchmark runner: what a case must say, and what one run writes. No test here is about speed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def runner(*words):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *words],
        capture_output=True,
        text=True,
        env={**os.environ},
    )


@pytest.fixture(scope="module")
def cases():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import run

        yield run.discover()
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_every_case_has_a_peer_and_counts_its_work(cases):
    assert cases
    for case in cases.values():
        assert case.peer_name and callable(case.peer) and callable(case.run), case.name
        assert case.units > 0 and case.peer_units > 0 and case.threads in (1, 2), case.name


def test_one_run_writes_what_a_figure_depends_on(tmp_path):
    out = tmp_path / "out.json"
    done = runner("import_sae", "--repeat", "1", "--json", str(out))
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text(encoding="utf-8"))
    assert {"commit", "cpu", "cores", "python", "versions"} <= set(written)
    (row,) = written["cases"]
    assert (row["name"], row["threads"], row["repeat"]) == ("import_sae", 1, 1)
    assert row["ratio"] == pytest.approx(row["cpu_s"] / row["peer_cpu_s"])
    assert "python -c pass" in done.stdout


def test_an_unknown_case_is_named():
    done = runner("fh_rem")
    assert done.returncode == 2
    assert "unknown cases fh_rem" in done.stderr and "import_sae" in done.stderr


def test_listing_cases_loads_no_statistics():
    """Thread counts are set for the measuring process: no case file may load numpy or numba on top."""
    code = (
        "import sys; sys.argv = ['run.py', '--list']; import run; run.main(); print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"numpy", "numba", "scipy", "pandas", "sae"} & set(done.stdout.split())


def test_the_files_of_the_national_run_are_what_its_production_file_reads(cases, tmp_path):
    import national

    from sae.batch.production.runner import check_production
    from sae.batch.production.spec import read_production

    national.write(tmp_path, years=2, persons=4_000, regions=12)
    surveys = [f"lfs={path}" for path in sorted(tmp_path.glob("lfs_*.parquet"))]
    surveys += [f"silc={path}" for path in sorted(tmp_path.glob("silc_*"))]
    file = read_production(tmp_path / "national.toml")
    text = check_production(
        file, surveys=[*surveys, f"registers={tmp_path / 'registers.csv'}"], areas=tmp_path / "areas.csv"
    )
    # 11 of the 12 regions are in the samples; 2 years, 3 groups of citizenship
    assert "lfs: region × citizenship_group: 66 domains × 16 indicators" in text
    assert "silc: nation × citizenship_group × sex: 12 domains × 18 indicators" in text
    assert "not told" not in text
