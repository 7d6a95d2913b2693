"""The documentation site: ``python -m sphinx -W -b html docs build/docs``, without a network."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("SAE_CHECKOUT", str(Path(__file__).parents[1]))  # of the oracles
os.environ.setdefault("SAE_SHARED", str(Path(os.environ["SAE_CHECKOUT"]).parent / "shared"))

import sae

project = "sae"
author = "the authors of sae"
version = release = sae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "mathml",
    "generated",
    "kernels",
]
exclude_patterns = ["_ext"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "header_links_before_dropdown": 5,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}
html_title = "sae"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_sidebars = {"index": [], "getting_started": [], "officials": []}
html_show_sourcelink = False
html_copy_source = False
html_math_renderer = "mathml"  # the browser's own: nothing is fetched

nb_execution_mode = "force"
nb_execution_in_temp = True
if not (Path(os.environ["SAE_SHARED"]) / "data" / "emdi_eusilcA_smp.csv").is_file():
    nb_execution_excludepatterns = ["replications/austrian_districts.md"]  # it says so, beside stored figures
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120
nb_output_stderr = "remove"  # it names folders of the machine that built the page; fits print their notes
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2

numpydoc_show_class_members = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
