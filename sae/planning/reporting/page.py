"""The page of a plan: one HTML file with everything inside, for any browser, without network or scripts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files

from sae.planning.reporting.tables import Section

__all__ = ["render_page"]

_FIRST = 12  # rows that a table shows before the reader asks for the others
_WHOLE = 20  # rows of a table that is shown whole
_MOST = 1000  # rows of a table on the page; the workbook has all


def render_page(
    title: str,
    subtitle: str,
    headline: Sequence[tuple[str, str]],
    quotations: Sequence[str],
    sections: Sequence[Section],
) -> str:
    """Return the page as HTML; every text is escaped, pictures stand inside as data."""
    from jinja2 import Environment, StrictUndefined

    world = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    world.filters["base64"] = lambda content: b64encode(content).decode("ascii")
    source = (files("sae.planning.reporting") / "templates" / "plan.html.j2").read_text(encoding="utf-8")
    return world.from_string(source).render(
        title=title,
        subtitle=subtitle,
        headline=headline,
        quotations=quotations,
        sections=sections,
        first=slice(0, _FIRST),
        all=slice(None),
        whole=_WHOLE,
        rest=slice(_FIRST, _MOST),
        most=_MOST,
    )
