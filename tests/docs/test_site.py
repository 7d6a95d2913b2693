"""The site: every public object has its entry (fast), and it builds without a warning or a network (slow)."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sae

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NEEDED = ("sphinx", "numpydoc", "myst_nb", "pydata_sphinx_theme", "jupytext")
absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
needs_sphinx = pytest.mark.skipif(bool(absent), reason=f"not installed (extra docs): {', '.join(absent)}")
# what a browser would fetch on its own; a link that a reader may follow is none
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*\ssrc=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\shref=["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import\s+["']?(?:https?:)?//""",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("generated", DOCS / "_ext" / "generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(generated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    for write in (generated.rooms, generated.catalogues, generated.files):
        write(folder)
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.rst")}


def test_every_public_name_has_an_entry(generated, pages):
    assert {name for name in sae.__all__ if f"``sae.{name}``" in pages["names"]} == set(sae.__all__)
    modules = {name for name in sae.__all__ if type(getattr(sae, name)).__name__ == "module"}
    assert modules <= set(generated.ROOMS)
    for room in generated.ROOMS:
        for name, module in generated.public(room).items():
            assert re.search(rf"{re.escape(module)}\.{name}\b", pages[f"room_{room}"]), f"{room}.{name}"


def test_an_object_of_two_rooms_has_one_entry(pages):
    entries = re.findall(r"^\.\. auto(?:class|function):: (\S+)", "\n".join(pages.values()), re.MULTILINE)
    assert len(entries) > 150
    assert len(set(entries)) == len(entries)


def test_indicators_layouts_and_policies_are_those_of_the_package(pages):
    assert all(f"\n{name}\n~" in pages["indicators"] for name in sae.indicators.REGISTRY)
    assert all(f"\n{name}\n-" in pages["layouts"] for name in sae.survey.layout_names())
    assert all(f"\n{name}\n-" in pages["policies"] for name in sae.quality.policy_names())


def test_the_pages_of_files_name_every_key(pages):
    from sae.batch.production.schema import production_schema

    for part in production_schema()["$defs"].values():
        assert all(f"``{key}``\n" in pages["production_file"] for key in part.get("properties", ()))


def test_every_notebook_is_a_page_of_code_that_runs(generated, tmp_path):
    pytest.importorskip("jupytext")
    generated.notebooks(ROOT / "notebooks", tmp_path)
    for notebook in (ROOT / "notebooks").glob("*.py"):
        page = (tmp_path / f"{notebook.stem}.md").read_text(encoding="utf-8")
        cells = page.count("\n```{code-cell}")
        assert cells == notebook.read_text(encoding="utf-8").count("\n# %%\n") > 3


def test_links_between_pages_lead_to_files():
    for page in DOCS.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            known = target.startswith(("https://", "mailto:")) or "generated/" in target
            assert known or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    ("text", "fetches"),
    [
        ('<script src="https://cdn.example/x.js">', True),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', True),
        ("@font-face { src: url(https://fonts.example/a.woff2) }", True),
        ('<a href="https://example.org">a reader may follow it</a>', False),
        ('<script src="_static/x.js">', False),
    ],
)
def test_what_counts_as_fetched(text, fetches):
    assert bool(FETCHED.search(text)) is fetches


@needs_sphinx
def test_every_formula_becomes_mathml():
    from docutils.utils.math.latex2mathml import tex2mathml

    formulas = []
    for page in DOCS.rglob("*.md"):
        text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        formulas += re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL)
        formulas += re.findall(r"(?<!\$)\$([^$\n]+)\$(?!\$)", text)
    assert len(formulas) > 50
    assert all("<math" in tex2mathml(formula) for formula in formulas)


@pytest.mark.slow  # it executes every page
@needs_sphinx
def test_it_builds_without_a_warning_and_its_pages_fetch_nothing(tmp_path):
    source, site = tmp_path / "docs", tmp_path / "site"
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("generated", "build"))
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-j",
        "2",
        "-b",
        "html",
        "-d",
        str(tmp_path / "trees"),
    ]
    done = subprocess.run(
        [*build, str(source), str(site)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SAE_CHECKOUT": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    texts |= {path: path.read_text(encoding="utf-8") for path in site.rglob("*.css")}
    assert {path.name for path, text in texts.items() if FETCHED.search(text)} == set()
    assert {path.name for path, text in texts.items() if str(ROOT) in text or str(tmp_path) in text} == set()
