"""The code of a page, run without Sphinx."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?::[^\n]*\n)*(.*?)^```", re.MULTILINE | re.DOTALL)


def cells(page):
    """Return the code of every cell of a page of docs/."""
    return CELL.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


def run(page):
    """Run a page from top to bottom; what it asserts is checked. Return its names."""
    names = {}
    for code in cells(page):
        exec(compile(code, page, "exec"), names)
    return names
