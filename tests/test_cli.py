"""The command line as a shell meets it: help, version, exit codes, messages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sae
from sae import cli
from sae.batch import shipped_models

HEAVY = ("pandas", "numba", "scipy", "matplotlib", "statsmodels", "pymc", "arviz", "pyarrow")


def shell(*words, cwd=None, **environment):
    """Run the command in a process of its own, as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "sae.cli", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("words", ["['--help']", "['run', '--help']", "['--version']", "['models']"])
def test_help_version_and_list_load_nothing_heavy(words):
    code = (
        f"import sys; sys.argv[1:] = {words}\n"
        "from sae.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('LOADED', *[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_version_and_models_are_printed():
    assert shell("--version").stdout == f"sae {sae.__version__}\n"
    listed = shell("models").stdout
    assert all(name in listed for name in shipped_models())


def test_help_names_the_commands_and_the_exit_codes():
    text = shell("--help").stdout
    for word in ("demo", "run", "check", "models", "Exit codes", "130"):
        assert word in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "frobnicate"),
        (["run", "employment_rate_by_birth", "--out", "o"], "--survey"),
        (["run", "nowhere.toml", "--survey", "s.csv", "--out", "o"], "nowhere.toml"),
        (["run", "employment_rate_by_brith", "--survey", "s.csv", "--out", "o"], "employment_rate_by_birth?"),
        (["run", "employment_rate_by_birth", "--survey", "none.csv", "--out", "o"], "none.csv"),
        (["check", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_bad_input_exits_2_with_one_message_and_writes_nothing(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sae", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    printed = capsys.readouterr()
    assert end.value.code == 2 and printed.out == ""
    assert said in printed.err and "Traceback" not in printed.err
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(tmp_path):
    done = shell("run", "nowhere.toml", "--survey", "s.csv", "--out", "o", "--debug", cwd=tmp_path)
    assert "Traceback" in done.stderr and "nowhere.toml" in done.stderr


def test_check_reports_every_file_and_exits_2_if_one_is_wrong(tmp_path):
    good = next(iter(shipped_models().values())).read_text(encoding="utf-8")
    (tmp_path / "good.toml").write_text(good, encoding="utf-8")
    (tmp_path / "wrong.toml").write_text(good.replace("[publish]", "[pubish]"), encoding="utf-8")
    done = shell("check", "good.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good.toml: ok\n", "")
    done = shell("check", ".", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "good.toml: ok\n"
    assert "wrong.toml" in done.stderr and "did you mean publish?" in done.stderr


def test_every_shipped_model_passes_the_check():
    done = shell("check", *shipped_models())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name}: ok" for name in shipped_models()]


def test_an_interruption_exits_130_with_one_line(monkeypatch, capsys):
    from sae.batch import demo

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupted)
    monkeypatch.setattr(sys, "argv", ["sae", "demo"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "Interrupted: nothing was written.\n"


def test_an_internal_fault_is_told_apart_from_bad_input(monkeypatch, capsys):
    from sae.batch import demo

    def broken(*args, **options):
        raise RuntimeError("boom")

    monkeypatch.setattr(demo, "run_demo", broken)
    monkeypatch.setattr(sys, "argv", ["sae", "demo"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    message = capsys.readouterr().err
    assert end.value.code == 2 and "Unexpected RuntimeError: boom" in message and "--debug" in message


def test_names_that_the_terminal_cannot_show_do_not_stop_the_command(tmp_path):
    (tmp_path / "m.toml").write_text('title = "Łódź"\n[estimate]\n"żółć" = 1\n', encoding="utf-8")
    done = shell("check", "m.toml", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "unknown key" in done.stderr
    assert not Path(tmp_path / "o").exists()
