"""The check at the end of a full run (conftest.py): no oracle without a test, and the check can fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SUITE = """
import pytest

def test_used(reference):
    assert reference("used") == 1

def test_proof(reference):
    assert reference("disputed") == 2

@pytest.mark.slow
def test_slow(reference):
    assert reference("slow") == 3

def test_data(shared_data):
    assert (shared_data / "real" / "table.csv").read_text() == "x"
"""
USES = {
    "awaited": {"later": "a model to come"},
    "slow": {"slow": "test_slow"},
    "disputed": {"disputed": "test_proof"},
}


@pytest.fixture
def suite(tmp_path):
    """A suite of its own with this conftest, five oracles and one shared file."""
    folder = tmp_path / "tests"
    (folder / "oracles").mkdir(parents=True)
    shutil.copy(TESTS / "conftest.py", folder)
    (folder / "test_it.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n", encoding="utf-8")
    for name, value in {"used": 1, "disputed": 2, "slow": 3, "later": 4}.items():
        (folder / "oracles" / f"{name}.json").write_text(str(value), encoding="utf-8")
    (tmp_path / "shared" / "data" / "real").mkdir(parents=True)
    (tmp_path / "shared" / "data" / "real" / "table.csv").write_text("x", encoding="utf-8")
    tables = (
        f"[{table}]\n{case} = '{reason}'\n" for table, line in USES.items() for case, reason in line.items()
    )
    (folder / "oracles" / "uses.toml").write_text("".join(tables), encoding="utf-8")
    return tmp_path


def run(suite, *options, shared="shared"):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *options],
        cwd=suite,
        env={**environment, "SAE_SHARED": str(suite / shared)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "2", "-m", "not slow", "tests")])
def test_a_full_run_of_a_complete_suite_passes(suite, options):
    assert run(suite, *options)[0] == 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_oracle_without_a_test_fails_a_full_run(suite, workers):
    (suite / "tests" / "oracles" / "idle.json").write_text("5", encoding="utf-8")
    code, output = run(suite, "-n", workers, "-m", "not slow")
    assert code == 1 and "3 passed" in output
    assert "idle: loaded by no test" in output and output.count("loaded by no test") == 1


@pytest.mark.parametrize("options", [("-k", "used or data"), ("tests/test_it.py",)])
def test_a_selected_run_is_not_checked(suite, options):
    (suite / "tests" / "oracles" / "idle.json").write_text("5", encoding="utf-8")
    assert run(suite, *options)[0] == 0


def test_without_the_shared_data_the_file_is_named_and_nothing_is_checked(suite):
    (suite / "tests" / "oracles" / "idle.json").write_text("5", encoding="utf-8")
    code, output = run(suite, shared="nowhere")
    assert code == 0 and "needs data/real/table.csv" in output and "not checked" in output


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"awaited": {}}, "later: loaded by no test"),
        ({"awaited": {"later": "", "used": ""}}, "used: awaited, yet loaded by a test"),
        ({"awaited": {"later": "", "gone": ""}}, "gone: awaited or slow, yet no file"),
        ({"disputed": {"later": "test_proof"}}, "later: disputed, yet not loaded"),
        ({"disputed": {"used": "test_gone"}}, "test_gone: has not passed"),
    ],
)
def test_a_reason_that_does_not_hold_is_a_problem(pytestconfig, changes, problem):
    conftest = pytestconfig.pluginmanager.get_plugin(str(TESTS / "conftest.py"))
    loaded, passed = {"used", "disputed"}, {"test_used", "test_proof"}
    found = conftest.unaccounted(loaded, passed, USES | changes, {*loaded, "slow", "later"})
    assert found == [problem] * (problem is not None)
