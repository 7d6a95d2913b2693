"""Formulas as MathML, written by docutils: every browser shows it, and no script is fetched."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

# docutils puts the index of an accented letter below it, as it would a limit
_ACCENT = re.compile(
    r"<munderover>\s*(<mi>[^<]*</mi>)\s*(<mi>[^<]*</mi>)\s*(<mo[^>]*>[^<]*</mo>)\s*</munderover>"
)


def mathml(formula, block=False):
    """Return a formula of LaTeX as MathML."""
    return _ACCENT.sub(r"<msub><mover>\1\3</mover>\2</msub>", tex2mathml(formula, as_block=block))


def _inline(writer, node):
    writer.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _display(writer, node):
    writer.body.append(f'<div class="formula">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
