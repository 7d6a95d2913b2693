"""The command line as a shell meets it: help, version, exit codes, messages."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sae
from sae import cli
from sae.batch import shipped_models
from sae.batch.staging import staged

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
    for word in ("demo", "run", "check", "models", "Exit codes", "130", "143"):
        assert word in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "frobnicate"),
        (["run", "employment_rate_by_birth", "--out", "o"], "--survey"),
        (["run", "nowhere.toml", "--survey", "s.csv", "--out", "o"], "nowhere.toml"),
        (["run", "employment_rate_by_brith", "--survey", "s.csv", "--out", "o"], "employment_rate_by_birth?"),
        (["run", "employment_rate_by_birth", "--survey", "none.csv", "--out", "o"], "--areas"),
        (
            ["run", "employment_rate_by_birth", "--survey", "none.csv", "--areas", "a.csv", "--out", "o"],
            "none.csv",
        ),
        (["check", "nowhere.toml"], "nowhere.toml"),
        (["run", "plan_foreign_employment", "--survey", "s.csv", "--out", "o"], "sae plan makes its plan"),
        (["plan", "employment_rate_by_birth", "--frame", "s.csv", "--out", "o"], "sae run estimates it"),
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


def end_of(monkeypatch, words):
    """Run the command in this process and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["sae", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def ends_by(number):
    """Return a demo that writes half of its results when the signal comes."""

    def demo(out, **options):
        with staged(out) as stage:
            (stage / "half.csv").write_text("half")
            signal.raise_signal(number)

    return demo


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_the_command_with_its_status_and_nothing_is_left(
    tmp_path, monkeypatch, capsys, name, status
):
    if not hasattr(signal, name):
        pytest.skip(f"{name} is not of this system")
    number = getattr(signal, name)
    usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    before = signal.signal(number, usual)  # under nohup, or in the background, it may be ignored
    monkeypatch.setattr("sae.batch.demo.run_demo", ends_by(number))
    try:
        assert end_of(monkeypatch, ["demo", "--out", tmp_path / "out"]) == status
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)
    assert capsys.readouterr().err == "Interrupted: nothing was written.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="not of this system")
def test_a_signal_that_nohup_ignores_stays_ignored(tmp_path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr("sae.batch.demo.run_demo", ends_by(signal.SIGHUP))
    try:
        end_of(monkeypatch, ["demo", "--out", tmp_path])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "half.csv").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_a_run_that_is_terminated_while_it_works_leaves_nothing(tmp_path):
    work = (
        "import time\n"
        "from sae.batch import demo\n"
        "from sae.batch.staging import staged\n"
        "from sae.cli import main\n"
        "def slow(out, **options):\n"
        "    with staged(out) as stage:\n"
        "        print('at work', flush=True)\n"
        "        time.sleep(60)\n"
        "demo.run_demo = slow\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", work, "demo", "--out", "out"], cwd=tmp_path, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"at work\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143 and not list(tmp_path.iterdir())
    process.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="pipes of this kind")
def test_a_reader_that_has_seen_enough_is_no_error():
    code = "from sae import cli\nfrom sae.batch import demo\nimport sys, types\n"
    code += "report = types.SimpleNamespace(text='x' * 10**6, outcome=types.SimpleNamespace(failed=()))\n"
    code += "demo.run_demo = lambda *a, **o: report\ncli.main()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(30) == 141
    process.stderr.close()


def raises(error):
    def broken(*args, **options):
        raise error

    return broken


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "Error: No space left on device"),
        (PermissionError(13, "Permission denied", "a.csv"), "Error: a.csv: Permission denied"),
        (OSError("no number"), "Error: no number"),
        (MemoryError(), "Error: the data do not fit into the memory of this machine."),
    ],
)
def test_what_the_system_refuses_is_no_fault_of_ours(monkeypatch, capsys, error, line):
    monkeypatch.setattr("sae.batch.demo.run_demo", raises(error))
    assert end_of(monkeypatch, ["demo"]) == 2
    assert capsys.readouterr().err == f"{line}\n"


def test_an_internal_fault_is_told_apart_from_bad_input(monkeypatch, capsys):
    monkeypatch.setattr("sae.batch.demo.run_demo", raises(RuntimeError("boom")))
    assert end_of(monkeypatch, ["demo"]) == 2
    message = capsys.readouterr().err
    assert (
        "Unexpected RuntimeError: boom" in message and "please report it" in message and "--debug" in message
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a folder that is in use")
def test_a_deleted_working_folder_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert end_of(monkeypatch, ["models"]) == 2
    assert "current folder does not exist any more" in capsys.readouterr().err


def test_names_that_the_terminal_cannot_show_do_not_stop_the_command(tmp_path):
    (tmp_path / "m.toml").write_text('title = "Łódź"\n[estimate]\n"żółć" = 1\n', encoding="utf-8")
    done = shell("check", "m.toml", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "unknown key" in done.stderr
    assert not Path(tmp_path / "o").exists()


MODEL = '[survey.columns]\nweights = "w"\n[estimate]\nindicator = "works"\nby = ["region"]\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "lfs.csv"], "lfs.csv holds data; it is no model file.\nRecords come with --survey"),
        (["run", "lfs.csv", "--out", "o"], "sae new --survey lfs.csv writes a model file"),
        (["run", "own", "--out", "o"], "Did you mean the file own.toml?"),
        (["run", "OWN.toml", "--out", "o"], "Did you mean the file own.toml?"),
        (["run", "own.toml", "--survey", ".", "--out", "o"], ". is a folder, not a file of records."),
        (
            ["report", "nowhere", "--out", "r.html"],
            "nowhere does not exist.\nName the folder that sae run wrote.",
        ),
        (["report", "own.toml", "--out", "r.html"], "own.toml is a file, not the folder of a run."),
        (["exchange", "nowhere", "--out", "e.zip", "--country", "AT"], "nowhere does not exist."),
        (["check", "keys.toml"], "[estimate] has an unknown key domains; did you mean by?"),
        (["check", "keys.toml"], "[model] has an unknown key area; the areas are those of by in [estimate]."),
        (["check", "keys.toml"], "[survey] has an unknown key weight; it belongs in [survey.columns]."),
    ],
)
def test_usual_mistakes_are_answered_with_what_to_do(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(MODEL, encoding="utf-8")
    (tmp_path / "lfs.csv").write_text("w,works,region\n1,1,01\n", encoding="utf-8")
    wrong = '[survey]\nweight = "w"\n[estimate]\nindicator = "works"\nby = ["region"]\ndomains = ["region"]\n'
    wrong += '[model]\nformula = "works ~ 1"\narea = "region"\n'
    (tmp_path / "keys.toml").write_text(wrong, encoding="utf-8")
    assert end_of(monkeypatch, words) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("keys.toml: keys.toml") == 0
    assert not (tmp_path / "o").exists()


def test_help_loses_no_word_in_brackets():
    assert "[direct]" in shell("run", "--help").stdout and "[direct]" in shell("exchange", "--help").stdout
