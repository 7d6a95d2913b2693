"""The package as users meet it: wheel, editable install, read-only folder; and what the tree may not hold.

Wheels are built in this process by the build back end itself, so nothing is fetched and nothing is installed.
"""

import os
import re
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import sae

ROOT = Path(__file__).parents[1]
MODELS = sorted(path.name for path in (ROOT / "models").glob("*.toml"))
BEGIN = "import sys, site; "
LIST_MODELS = (
    "import sae, pathlib; from sae.batch.models import models_folder as f; "
    "print(pathlib.Path(sae.__file__).parent); print(f()); print(*sorted(p.name for p in f().glob('*.toml')))"
)
FIT = """
import pandas as pd, sae
x = [0.1, 0.3, 0.2, 0.9, 0.5, 0.7, 0.4, 0.8, 0.6, 1.0]
noise = [0.3, -0.2, 0.1, -0.4, 0.2, 0.5, -0.1, 0.0, -0.3, 0.2]
frame = pd.DataFrame({"area": list("ABCDEFGHIJ"), "y": [1 + 2 * a + e for a, e in zip(x, noise)], "x": x})
fit = sae.FayHerriot("y ~ x", domain="area", vardir="v").fit(frame.assign(v=0.05))
print(sae.__file__)
print(len(fit.estimates), bool((fit.estimates["mse"] > 0).all()))
"""


@pytest.fixture(scope="module")
def back_end():
    """The build back end, called where it expects to be: in the root of the checkout."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("needs the checkout, not only the tests")
    from hatchling import build

    here = Path.cwd()
    os.chdir(ROOT)
    yield build
    os.chdir(here)


@pytest.fixture(scope="module")
def wheel(back_end, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    return folder / back_end.build_wheel(str(folder))


@pytest.fixture
def unpacked(wheel, tmp_path):
    """A folder that holds the wheel's content, as an installation would."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "packages")
    return tmp_path / "packages"


def run_python(code, *flags, **environment):
    """Run code away from the checkout and from any PYTHONPATH of this process; return its lines."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        env={**inherited, **environment},
        cwd=environment.get("HOME", os.sep),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_wheel_holds_every_module_and_every_model(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT).as_posix()) for path in (ROOT / "sae").rglob("*.py")}
    layouts = {str(path.relative_to(ROOT).as_posix()) for path in (ROOT / "sae").rglob("*.toml")}
    assert MODELS, "models/ is empty"
    assert modules | layouts | {"sae/py.typed"} <= inside
    assert {f"sae/models/{name}" for name in MODELS} <= inside
    outside = ("conftest", "tests", "benchmarks", "docs", "models")
    assert not [name for name in inside if name.startswith(outside)]


def test_wheel_is_pure_and_names_its_command_and_licence(wheel):
    assert wheel.name == f"sae-{sae.__version__}-py3-none-any.whl"
    archive = zipfile.ZipFile(wheel)
    info = f"sae-{sae.__version__}.dist-info"
    assert "sae = sae.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    metadata = archive.read(f"{info}/METADATA").decode()
    assert "Requires-Python: >=3.11" in metadata
    assert "License-Expression: BSD-3-Clause" in metadata
    assert f"{info}/licenses/LICENSE" in archive.namelist()


def test_models_are_found_in_the_checkout():
    package, models, names = run_python(LIST_MODELS, PYTHONPATH=str(ROOT))
    assert (Path(package), Path(models)) == (ROOT / "sae", ROOT / "models")
    assert names.split() == MODELS


def test_models_are_found_in_an_unpacked_wheel(unpacked):
    package, models, names = run_python(LIST_MODELS, PYTHONPATH=str(unpacked))
    assert (Path(package), Path(models)) == (unpacked / "sae", unpacked / "sae" / "models")
    assert names.split() == MODELS


def test_models_are_found_in_an_editable_install(back_end, tmp_path):
    built = back_end.build_editable(str(tmp_path))
    zipfile.ZipFile(tmp_path / built).extractall(tmp_path / "site")
    others = [sysconfig.get_path("purelib"), *site.getsitepackages()]
    add = "".join(f"site.addsitedir({str(folder)!r}); " for folder in [tmp_path / "site", *others])
    package, models, names = run_python(f"{BEGIN}{add}{LIST_MODELS}", "-S")
    assert (Path(package), Path(models)) == (ROOT / "sae", ROOT / "models")
    assert names.split() == MODELS


def test_console_script_is_installed_and_answers():
    script = Path(sysconfig.get_path("scripts")) / ("sae.exe" if os.name == "nt" else "sae")
    done = subprocess.run([script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("demo", "run", "check", "models"))


def close_caches(package):
    """Make every ``__pycache__`` of a package unusable, even for root: a file stands where the folder should.

    Modes do not bind root, under whom tests often run; a file in the way of a folder does.
    """
    for folder in {path.parent for path in package.rglob("*.py")}:
        (folder / "__pycache__").write_text("closed", encoding="utf-8")


@pytest.mark.slow
def test_read_only_installation_caches_kernels_in_the_user_folder(unpacked, tmp_path):
    close_caches(unpacked / "sae")
    home, cache = tmp_path / "home", tmp_path / "home" / "cache"
    home.mkdir()
    user = {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "LOCALAPPDATA": str(cache)}
    where, answer = run_python(FIT, PYTHONPATH=str(unpacked), **user)
    assert Path(where) == unpacked / "sae" / "__init__.py"
    assert answer == "10 True"
    assert list(home.rglob("*.nbi")), "numba left no kernel in the user's cache folder"


def test_read_only_installation_without_a_writable_home_still_works(unpacked, tmp_path):
    close_caches(unpacked / "sae")
    closed = tmp_path / "closed"
    closed.write_text("a file, so that nothing below it can be made", encoding="utf-8")
    nowhere = {"XDG_CACHE_HOME": str(closed / "cache"), "LOCALAPPDATA": str(closed / "cache")}
    where, answer = run_python(FIT, PYTHONPATH=str(unpacked), **nowhere)
    assert Path(where) == unpacked / "sae" / "__init__.py"
    assert answer == "10 True"
    assert not list(tmp_path.rglob("*.nbi"))


def tracked_texts():
    """Every text file that git tracks or would track, with its content."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("needs a git checkout")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        try:
            yield name, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # pictures and other binary files; files deleted but not yet staged


# Written so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.}/])/(?:work|root|home|Users|tmp)/[\w.]|\b[A-Z]:\\\\?[Uu]sers")
INDEX_HOST = re.compile(r"(?:py[p]i|pythonhost[e]d|anacon[d]a)\.(?:org|com)|--(?:extra-)?index-[u]rl")


def test_no_file_names_a_path_of_one_machine_or_a_package_index():
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or INDEX_HOST.search(line)
    ]
    assert not found, "\n".join(found)


def test_the_search_for_paths_and_hosts_can_find_them():
    for text in ("open('/" + "home/anna/x.csv')", "C:\\" + "Users\\anna", "/" + "tmp/x"):
        assert MACHINE_PATH.search(text), text
    for text in ("https://files.python" + "hosted.org/x", "pip install --index" + "-url x"):
        assert INDEX_HOST.search(text), text
    assert not MACHINE_PATH.search("a/home/b") and not MACHINE_PATH.search("{home}/work/x")


def test_git_ignores_no_source_file():
    """A careless line of .gitignore hides a room from git and, through the back end, from the wheel."""
    files = [path for path in (ROOT / "sae").rglob("*") if path.suffix in (".py", ".toml")]
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "check-ignore", "--stdin"],
        input="\n".join(str(path.relative_to(ROOT)) for path in files),
        capture_output=True,
        text=True,
    )
    if asked.returncode > 1:
        pytest.skip("needs a git checkout")
    assert asked.stdout.split() == []
