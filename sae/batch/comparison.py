"""Two results of `sae run`: what differs between them, in a frame and in words, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from textwrap import wrap
from warnings import warn

import pandas as pd
from pydantic import BaseModel, ValidationError

from sae.batch.differences import COLUMNS, FIGURES, MEANINGS, METHODS, VERDICTS, differences
from sae.batch.hints import collected_warnings
from sae.batch.outputs import MANIFEST, hash_file
from sae.errors import SaeInputError, SaeWarning, name_some
from sae.tables import ESTIMATE_COLUMNS, EstimateTable, joined_labels, read_table, require, write_table

__all__ = ["Comparison", "compare_results"]

_SOME = 5  # cells that the summary shows of each kind
_TITLE, _WIDTH = 13, 110  # characters
_OPEN = ("shown", "not assessed")  # a figure stands there to be read
_DIRECT_HIDDEN = "direct columns confidential"  # how `sae.quality.assess` begins that reason


class _Input(BaseModel):
    """A file, or several of one role."""

    file: str = ""
    files: list[str] = []
    sha256: str | list[str]

    @property
    def names(self) -> str:
        return name_some(self.files or [self.file])


class _Record(BaseModel):
    """What a manifest says of one model or production: `sae run` writes it."""

    spec: str
    inputs: dict[str, _Input]
    versions: dict[str, str]
    seed: int | None
    outputs: dict[str, str]
    design: str | dict[str, str] | None = None


class _Manifest(BaseModel):
    models: dict[str, _Record]


@dataclass(frozen=True, eq=False)
class _Result:
    table: EstimateTable
    record: _Record | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two results and what differs between them.

    Attributes
    ----------
    frame : DataFrame
        The `differences` of all models, with the column ``model`` before them.
    text : str
        A summary: counts by kind, the largest changes, the reasons that the manifests give.
    warnings : tuple of str
        Cells that were hidden and are not hidden now, the other way round, and figures of another meaning.
    """

    frame: pd.DataFrame
    text: str
    warnings: tuple[str, ...]


def compare_results(old: str | Path, new: str | Path, *, out: str | Path | None = None) -> Comparison:
    """Compare two folders of results, or two tables of estimates.

    Parameters
    ----------
    old, new : path
        A folder that `sae run` wrote, of which every model or production is compared with that of the same
        name (one each: with one another), or a table of it, working or published.
    out : path, optional
        File for the frame of all differences: CSV, Parquet or XLSX.

    Raises
    ------
    SaeInputError
        If a folder has no sound manifest, a table was changed or lost after its run, `out` would replace a
        result, or the tables cannot be matched.
    """
    paths = Path(old), Path(new)
    with collected_warnings() as warnings:
        results = [_read(path) for path in paths]
    if out is not None:
        _refuse_result(Path(out), paths)
    frames, texts = [], []
    for name, before, after in _pairs(results, paths):
        frame = differences(before.table, after.table, names=(f"{paths[0]}", f"{paths[1]}"))
        frames.append(frame.assign(model=pd.Series(name, index=frame.index, dtype="string")))
        texts.append("\n".join(_summary(name, frame, before, after)))
        warnings += [f"{name}: {warning}" for warning in _warnings(frame, before, after)]
    whole = pd.concat(frames, ignore_index=True)
    whole = whole[["model", *(name for name in whole if name not in (*COLUMNS, "model")), *COLUMNS]]
    text = "\n\n".join([f"old: {paths[0]}\nnew: {paths[1]}", *texts])
    if out is not None:
        write_table(whole, out)
        text += f"\n\nwrote {len(whole)} differences to {out}"
    return Comparison(whole, text, tuple(warnings))


def _read(path: Path) -> dict[str, _Result]:
    """Return the results at a path by the names of their models."""
    try:
        if not path.exists() and not path.suffix:  # the reader of tables names a file that is not there
            raise SaeInputError(
                "there is no such folder or table.",
                hint="Name the folder that sae run wrote, or one of its tables.",
            )
        if path.is_dir():
            return _read_folder(path)
        return {path.stem: _Result(_read_table(path))}
    except SaeInputError as error:  # both results have files of the same names
        raise SaeInputError(f"{path}: {error.what}", hint=error.hint, column=error.column) from None


def _read_table(path: Path) -> EstimateTable:
    """Read a working table, or a published one: what was hidden in it, and what is to be seen."""
    if ".published." not in path.name:
        return EstimateTable.read(path)
    frame = read_table(path)
    require(frame, ["indicator", "estimate", "flag", "reason"], f"{path.name} has")
    before = [str(name) for name in frame.columns[: frame.columns.get_loc("estimate")]]
    groups = tuple(name for name in before if name not in ESTIMATE_COLUMNS)
    shown = frame["estimate"].notna()
    return EstimateTable(frame.assign(publishable=shown, domain=_domains(frame, groups)), groups)


def _domains(frame: pd.DataFrame, groups: Sequence[str]) -> pd.Series:
    """Return the names of the rows of a published table."""
    if "domain" in frame:
        return frame["domain"]
    return joined_labels(frame, ["geo", *groups] if "level" in groups else groups)


def _read_folder(folder: Path) -> dict[str, _Result]:
    place = folder / MANIFEST
    if not place.is_file():
        raise SaeInputError(
            f"The folder holds no {MANIFEST}, so it is no result of sae run.",
            hint="Name the folder that was given to --out, or two tables of estimates.",
        )
    try:
        models = _Manifest.model_validate_json(place.read_bytes()).models
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ": ".join(map(str, first["loc"])) or "the file"
        raise SaeInputError(
            f"{MANIFEST} is no record of sae run: {where}: {first['msg']}.",
            hint="Run the model again, or compare the tables themselves.",
        ) from None
    results = {
        name: _read_model(folder, name, record)
        for name, record in models.items()
        if f"{name}.csv" in record.outputs
    }
    if not results:
        raise SaeInputError(
            f"{MANIFEST} names no table of estimates; its records are {name_some(models) or 'none'}.",
            hint="Plans are not compared.",
        )
    others = [name for name in models if name not in results]
    if others:
        warn(
            f"Not compared, for {folder / MANIFEST} names no table of estimates: {name_some(others)}.",
            SaeWarning,
            stacklevel=2,
        )
    return results


def _read_model(folder: Path, name: str, record: _Record) -> _Result:
    """Return the table of a model, with its contrasts, exactly as the run wrote it."""
    tables = []
    for file in (f"{name}.csv", f"{name}.contrasts.csv"):
        if file not in record.outputs:
            continue
        if not (folder / file).is_file():
            raise SaeInputError(f"{file}, which {MANIFEST} names, is not there.", hint="Run the model again.")
        if hash_file(folder / file) != record.outputs[file]:
            raise SaeInputError(
                f"{file} is not what its run wrote: its SHA-256 is not that of {MANIFEST}.",
                hint="To compare the tables as they are, name the two files instead of the folders.",
            )
        tables.append(EstimateTable.read(folder / file))
    if len(tables) == 1:
        return _Result(tables[0], record)
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    return _Result(EstimateTable(frame, tables[0].groups), record)


def _refuse_result(out: Path, paths: Sequence[Path]) -> None:
    """Refuse to write over one of the results, or into a folder of them, where it would pass for one."""
    folders = [path.resolve() if path.is_dir() else None for path in paths]
    if out.resolve().parent in folders or out.resolve() in [path.resolve() for path in paths]:
        raise SaeInputError(
            f"{out} would lie among the results that are compared.", hint="Name another place with --out."
        )


def _pairs(
    results: Sequence[Mapping[str, _Result]], paths: Sequence[Path]
) -> list[tuple[str, _Result, _Result]]:
    """Return the models of both results by name, one that a result lacks with an empty table there."""
    old, new = results
    if len(old) == len(new) == 1:
        (first, before), (last, after) = *old.items(), *new.items()
        return [(first if first == last else f"{first} → {last}", before, after)]
    for path, other in zip(paths, (new, old), strict=True):
        if not path.is_dir():
            raise SaeInputError(
                f"{path} is one table, but the other result holds {len(other)} models: {name_some(other)}.",
                hint="Name the table of one of them instead of its folder.",
            )
    pairs = []
    for name in dict.fromkeys([*old, *new]):
        before = old[name] if name in old else _nothing(new[name])
        pairs.append((name, before, new[name] if name in new else _nothing(before)))
    return pairs


def _nothing(other: _Result) -> _Result:
    return _Result(EstimateTable(other.table.frame.iloc[:0], other.table.groups))


# --- in words


def _summary(name: str, frame: pd.DataFrame, before: _Result, after: _Result) -> list[str]:
    counts = frame["what"].value_counts()
    lines = [f"{name}: {len(before.table)} cells in the old result, {len(after.table)} in the new"]
    for what, side in (("appeared", "new"), ("disappeared", "old")):
        if what in counts:
            shown = int((frame["what"].eq(what) & frame[f"{side}_status"].eq("shown")).sum())
            lines.append(f"  {what:<{_TITLE}}{counts[what]} cells, {shown} of them shown")
    figures = ["estimate", "se", *(column for column in FIGURES if column not in ("estimate", "se"))]
    kinds = {"figures": figures, "verdicts": VERDICTS, "meaning": MEANINGS, "method": METHODS}
    for title, columns in kinds.items():
        changed = [f"{column}\xa0{counts[column]}" for column in columns if column in counts]
        if changed:  # a line ends between two columns, not before a count
            text = f"  {title:<{_TITLE}}{', '.join(changed)}"
            indent = " " * (_TITLE + 2)
            lines += [line.replace("\xa0", " ") for line in wrap(text, _WIDTH, subsequent_indent=indent)]
    if frame.empty:
        lines.append("  no figure, verdict or suppression differs")
    for title, cells in _suppressions(frame).items():
        lines += _listed(title, cells, frame)
    return [*lines, *_largest(frame), *_causes(before.record, after.record)]


def _suppressions(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the cells of which something was hidden or shown in one result only, by what happened."""
    cells = frame.drop_duplicates(_cell_columns(frame))
    was, now = cells["old_status"], cells["new_status"]
    marked = [frame[f"{side}_text"].str.contains(_DIRECT_HIDDEN, regex=False) for side in ("old", "new")]
    bared = frame["what"].eq("reason") & marked[0] & ~marked[1] & frame["new_status"].isin(_OPEN)
    kinds = {
        "hidden in the old, not in the new": cells[was.eq("hidden") & now.isin(_OPEN)],
        "direct figure hidden in the old, not in the new": frame[bared & frame["old_status"].ne("hidden")],
        "shown in the old, hidden in the new": cells[was.eq("shown") & now.eq("hidden")],
    }
    return {kind: rows for kind, rows in kinds.items() if len(rows)}


def _listed(title: str, cells: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    """Return some cells with the reasons that both results give, where they differ."""
    keys = _cell_columns(frame)
    rows = cells.head(_SOME)
    reasons = rows[keys].merge(frame[frame["what"].eq("reason")], on=keys, how="left", validate="one_to_one")
    lines = [f"  {title}: {_count(cells)}"]
    for cell, old, new in zip(
        _names(rows, frame), reasons["old_text"].fillna(""), reasons["new_text"].fillna(""), strict=True
    ):
        lines.append(f"    {cell}")
        lines += [
            f"      {side}: {text or 'no reason'}"
            for side, text in (("old", old), ("new", new))
            if old or new
        ]
    rest = len(cells) - len(rows)
    return [*lines, f"    and {rest} more"] if rest else lines


def _largest(frame: pd.DataFrame) -> list[str]:
    """Return the estimates that moved most, of cells whose figures may be seen."""
    moved = frame[frame["what"].eq("estimate")]
    if moved.empty:
        return []
    far = int(moved["in_se"].abs().gt(1).sum())
    lines = [f"  estimates that moved by more than one old standard error: {far} of {len(moved)}"]
    seen = moved[moved["old_status"].ne("hidden") & moved["new_status"].ne("hidden")]
    order = seen.assign(size=seen["in_se"].abs(), share=seen["relative"].abs())
    seen = seen.loc[order.sort_values(["size", "share"], ascending=False, kind="stable").index[:_SOME]]
    if seen.empty:
        return lines
    shown = pd.DataFrame({"cell": _names(seen, frame)}, index=seen.index)
    forms = {"old": "{:.4g}", "new": "{:.4g}", "relative": "{:+.2%}", "in_se": "{:+.2g}"}
    for column, form in forms.items():
        shown[column] = ["" if pd.isna(value) else form.format(value) for value in seen[column]]
    return [
        *lines,
        "  largest changes of estimates that are hidden in neither",
        *(f"    {line}" for line in shown.to_string(index=False).splitlines()),
    ]


def _cell_columns(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if name not in COLUMNS]


def _names(rows: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    """Return the names of cells: the domain, and what else tells the cells of `frame` apart."""
    columns = [name for name in ("indicator", "time") if frame[name].nunique() > 1]
    cells = frame[_cell_columns(frame)].drop_duplicates()
    if cells.duplicated([*columns, "domain"]).any():  # a region and its groups bear its name
        columns += [str(name) for name in cells if name not in ("indicator", "time", "geo", "domain")]
    return [" / ".join(row) for row in rows[[*columns, "domain"]].itertuples(index=False)]


def _count(cells: pd.DataFrame) -> str:
    return "1 cell" if len(cells) == 1 else f"{len(cells)} cells"


def _warnings(frame: pd.DataFrame, before: _Result, after: _Result) -> list[str]:
    """Return what must not be overlooked."""
    texts = []
    for kind, cells in _suppressions(frame).items():
        advice = (
            "Whoever has the old table knows these figures."
            if kind.startswith("shown")
            else "See that they may be shown, and that both tables together give no third figure away."
        )
        texts.append(f"{_count(cells)}, {kind}: {name_some(_names(cells, frame))}. {advice}")
    for name in MEANINGS:
        rows = frame[frame["what"].eq(name)]
        changed = rows.groupby(["indicator", "old_text", "new_text"]).size().reset_index(name="cells")
        texts += [
            f"the {name} of {indicator or 'the figures'} differs in {count} cells: {old or 'none'!r} in the "
            f"old result, {new or 'none'!r} in the new."
            for indicator, old, new, count in changed.itertuples(index=False)
        ]
    for side, other, place in ((before, after, "new"), (after, before, "old")):
        if not len(side.table) and len(other.table):
            texts.append(f"the model stands only in the {place} result.")
    return texts


def _designs(record: _Record) -> list[str]:
    """Return the designs of the surveys, those of a production by name."""
    design = record.design
    return [f"{name}: {text}" for name, text in design.items()] if isinstance(design, dict) else [f"{design}"]


def _causes(old: _Record | None, new: _Record | None) -> list[str]:
    """Return what differs in the origin of two results."""
    if old is None or new is None:
        return ["  why: unknown, for a table alone does not say; compare the folders of two runs"]
    lines = []
    for role in sorted({*old.inputs, *new.inputs}):
        before, after = old.inputs.get(role), new.inputs.get(role)
        if before is None or after is None:
            only = before or after
            lines.append(f"{role}: {only.names if only else ''} only in the {'old' if before else 'new'} run")
        elif before.sha256 != after.sha256:
            files = before.names if before.names == after.names else f"{before.names} → {after.names}"
            lines.append(f"{role}: {files}, other content")
    for role in sorted({*old.versions, *new.versions}):
        versions = [record.versions.get(role, "none") for record in (old, new)]
        if versions[0] != versions[1]:
            lines.append(f"version of {role}: {versions[0]} → {versions[1]}")
    if old.seed != new.seed:
        lines.append(f"seed: {old.seed} → {new.seed}")
    if old.design != new.design:
        lines.append("design of the survey:")
        lines += [f"  -{text}" for text in _designs(old)] + [f"  +{text}" for text in _designs(new)]
    text = list(unified_diff(old.spec.splitlines(), new.spec.splitlines(), n=0, lineterm=""))[2:]
    changed = [line for line in text if not line.startswith("@@") and line[1:].strip()]
    if changed:
        lines += ["model file:", *(f"  {line}" for line in changed)]
    elif text:
        lines.append("model file: empty lines only")
    same = "  why: input files, versions, seed and model file are the same"
    return ["  why", *(f"    {line}" for line in lines)] if lines else [same]
