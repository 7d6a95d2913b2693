"""Pages made of the package itself (objects, files, indicators, layouts, policies) and of the notebooks."""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from pathlib import Path

import sae
from sae.batch import schema
from sae.indicators import REGISTRY
from sae.quality import load_policy, policy_names
from sae.specs import Specification
from sae.survey import layout_names, layout_page

FOLDER = "generated"
ROOMS = (
    "survey",
    "indicators",
    "auxiliary",
    "design_based",
    "area_level",
    "unit_level",
    "priors",
    "results",
    "compare",
    "quality",
    "disclosure",
    "publish",
    "planning",
    "evaluation",
    "plots",
    "datasets",
    "errors",
)
# of the room of results, what a user holds in the hand
RESULTS = {
    "Result": "sae.results",
    "Draws": "sae.results",
    "EstimateTable": "sae.tables",
    "DirectEstimates": "sae.tables",
    "combine": "sae.tables",
    "catalogue": "sae.batch.catalogue",
}


def public(room: str) -> dict[str, str]:
    """Return every public name of a room, and the module it is taken from."""
    if room == "results":
        return dict(RESULTS)
    module = import_module("sae.specs.priors" if room == "priors" else f"sae.{room}")
    return dict.fromkeys(sorted(module.__all__), module.__name__)


def _heading(text: str, sign: str = "=") -> str:
    return f"{text}\n{sign * len(text)}\n\n"


def _entry(name: str, module: str, seen: dict[int, str]) -> str:
    """Write the directive of one object; of one documented elsewhere, where that is."""
    thing, full = getattr(import_module(module), name), f"{module}.{name}"
    named = inspect.isclass(thing) or inspect.isfunction(thing)
    if named and id(thing) in seen:
        return f"``{full}`` is :obj:`{seen[id(thing)]}`.\n\n"
    if named:
        seen[id(thing)] = full
    if inspect.isclass(thing):
        fit = f"   .. automethod:: {full}.fit\n\n" if _is_model(thing) else ""
        members = "" if issubclass(thing, BaseException) else "   :members:\n"
        return f".. autoclass:: {full}\n{members}\n{fit}"
    if inspect.isfunction(thing):
        return f".. autofunction:: {full}\n\n"
    return f".. py:data:: {full}\n\n   Of type ``{type(thing).__name__}``.\n\n"


def _is_model(thing: type) -> bool:
    return issubclass(thing, Specification) and hasattr(thing, "fit") and "fit" not in vars(thing)


def rooms(folder: Path) -> None:
    """Write one page per room, every object once; and the index of the names of ``sae`` itself."""
    seen: dict[int, str] = {}
    for room in ROOMS:
        names = public(room)
        said = "What fits and tables are." if room == "results" else ""
        text = _heading(f"sae.{room}") + (said or _first_line(room)) + "\n\n"
        text += "".join(_entry(name, module, seen) for name, module in names.items())
        (folder / f"room_{room}.rst").write_text(text, encoding="utf-8")
    lines = [_heading("The names of sae"), "Loaded on first use.\n\n"]
    for name in sae.__all__:
        thing = getattr(sae, name)
        if id(thing) in seen:
            lines.append(f"- ``sae.{name}``: :obj:`{seen[id(thing)]}`\n")
        elif name in ROOMS:
            lines.append(f"- ``sae.{name}``: :doc:`the room <room_{name}>`\n")
        else:
            lines.append(f"- ``sae.{name}``\n")
    (folder / "names.rst").write_text("".join(lines), encoding="utf-8")


def _first_line(room: str) -> str:
    module = import_module("sae.specs.priors" if room == "priors" else f"sae.{room}")
    return (module.__doc__ or "").strip().splitlines()[0]


def _literal(text: str) -> str:
    return "::\n\n" + "".join(f"   {line}\n" if line else "\n" for line in text.splitlines()) + "\n"


def catalogues(folder: Path) -> None:
    """Write indicators, layouts and policies, as the package says them."""
    text = _heading("Indicators") + "Every definition with its version, as ``sae show NAME`` prints it.\n\n"
    topics = dict.fromkeys(one.topic for one in REGISTRY.values())
    for topic in topics:
        text += _heading(topic.capitalize(), "-")
        for one in REGISTRY.values():
            if one.topic == topic:
                text += _heading(one.id, "~") + _literal(str(one))
    (folder / "indicators.rst").write_text(text, encoding="utf-8")
    text = _heading("Layouts") + "Files with known columns and codes, as ``sae show NAME`` prints them.\n\n"
    text += "".join(_heading(name, "-") + _literal(layout_page(name)) for name in layout_names())
    (folder / "layouts.rst").write_text(text, encoding="utf-8")
    text = _heading("Policies") + "Rules of publication by name. An own one is a TOML file of this form.\n\n"
    home = Path(inspect.getfile(load_policy)).parent / "policies"
    for name in policy_names():
        text += _heading(name, "-") + _literal((home / f"{name}.toml").read_text(encoding="utf-8"))
    (folder / "policies.rst").write_text(text, encoding="utf-8")


def _kind(part: dict) -> str:
    """Of a key of a schema: what it takes, in a word."""
    if "$ref" in part:
        return f"table of {part['$ref'].rsplit('/', 1)[1]}"
    if "enum" in part:
        few = part["enum"][:12]
        more = f", … ({len(part['enum'])} in all)" if len(part["enum"]) > len(few) else ""
        return "one of " + ", ".join(f"``{value}``" for value in few) + more
    if "const" in part:
        return f"``{part['const']}``"
    ways = part.get("anyOf") or part.get("oneOf")
    if ways:
        return " or ".join(dict.fromkeys(_kind(way) for way in ways if way.get("type") != "null"))
    if part.get("type") == "array":
        return f"list of {_kind(part.get('items', {})) or 'values'}"
    if part.get("type") == "object":
        inner = part.get("additionalProperties")
        return "table" + (f" of {_kind(inner)}" if isinstance(inner, dict) and inner else "")
    if isinstance(part.get("type"), list):
        return " or ".join(_kind({**part, "type": one}) for one in part["type"] if one != "null")
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}.get(
        part.get("type", ""), "any value"
    )


def _keys(name: str, part: dict) -> str:
    text = _heading(name, "-")
    text += " ".join(part.get("description", "").split()) + "\n\n" if part.get("description") else ""
    required = part.get("required", ())
    for key, value in part.get("properties", {}).items():
        default = f"; by default ``{value['default']!r}``" if value.get("default") not in (None, "") else ""
        must = "; required" if key in required else ""
        text += f"``{key}``\n   {_kind(value)}{default}{must}.\n\n"
    return text


def _schema_page(title: str, command: str, whole: dict) -> str:
    text = _heading(title) + f"From the classes that read it; ``{command}`` prints it for an editor.\n\n"
    text += _keys("The file", {**whole, "description": ""})
    return text + "".join(_keys(name, part) for name, part in whole.get("$defs", {}).items())


def files(folder: Path) -> None:
    """Write the pages of model, planning and production files, from their schemas."""
    from sae.batch.production import schema as production

    pages = {
        "model_file": ("The model file", "sae schema", schema.json_schema()),
        "planning_file": ("The planning file", "sae schema --plan", schema.json_schema(plan=True)),
        "production_file": ("The production file", "sae schema --production", production.production_schema()),
    }
    for name, (title, command, whole) in pages.items():
        (folder / f"{name}.rst").write_text(_schema_page(title, command, whole), encoding="utf-8")


def notebooks(source: Path, folder: Path) -> None:
    """Write every notebook as a page, which is executed like the others."""
    import jupytext

    for path in sorted(source.glob("*.py")):
        notebook = jupytext.read(path, fmt="py:percent")
        jupytext.write(notebook, folder / f"{path.stem}.md", fmt="md:myst")


def write(app) -> None:
    """Write every generated page anew."""
    folder = Path(app.srcdir) / "reference" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    pages = Path(app.srcdir) / "notebooks" / FOLDER
    pages.mkdir(parents=True, exist_ok=True)
    notebooks(Path(os.environ["SAE_CHECKOUT"]) / "notebooks", pages)
    rooms(folder)
    catalogues(folder)
    files(folder)


def setup(app):
    """Write the pages before Sphinx looks for them."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
