"""The stages of a production as items of work: what files hold, what they estimate, rows of indicators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from sae.auxiliary import AreaFile
from sae.batch.hints import collected_warnings
from sae.batch.outputs import hash_file, versions
from sae.batch.production.blocks import BlockFile, InBlocks, block_file, block_sketch, in_blocks
from sae.batch.production.design import Design
from sae.batch.production.fits import indicator_rows
from sae.batch.production.sketches import Sketch, joined_sketch, sketched
from sae.batch.production.spec import ProductionFile
from sae.batch.production.statistics import in_memory, survey_tables
from sae.batch.production.stored import (
    rows_output,
    sketch_from_output,
    sketch_output,
    tables_from_output,
    tables_output,
)
from sae.batch.production.surveys import file_groups, read_files, survey_files, with_levels
from sae.batch.runner import read_areas
from sae.batch.work import Item, Output
from sae.design_based.block_parts import restored, stored
from sae.design_based.block_sums import BlockSums, OtherNumbersError, subtree
from sae.design_based.block_task import Task
from sae.errors import SaeInputError, name_some
from sae.survey.silc_files import silc_kind
from sae.tables.block_files import names_are_hidden

__all__ = ["Inputs", "estimation_items", "other_numbers", "row_item", "sketch_items", "sketches_of"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The files of a production.

    Attributes
    ----------
    file : ProductionFile
    paths : mapping of str to list of Path
        Of each survey and register.
    areas : Path, optional
    memory : float
        Bytes; larger surveys are read in blocks.
    """

    file: ProductionFile
    paths: Mapping[str, Sequence[Path]]
    areas: Path | None
    memory: float

    @classmethod
    def of(
        cls, file: ProductionFile, surveys: Sequence[str], areas: str | Path | None, memory: float
    ) -> Inputs:
        """Return the files as the command line gives them, NAME=PATH, else as the production file does."""
        return cls(file, survey_files(file, surveys), file.areas_file(areas), memory)

    @property
    def all(self) -> list[Path]:
        """Every file."""
        return [path for of in self.paths.values() for path in of] + ([self.areas] if self.areas else [])

    @property
    def registers(self) -> dict[str, Sequence[Path]]:
        """The files of each register that has some."""
        return {name: self.paths[name] for name in self.file.registers if self.paths[name]}

    @cached_property
    def groups(self) -> dict[str, list[tuple[Path, ...]]]:
        """Which files of each survey are read together."""
        apart = self.file.production.time
        return {name: file_groups(one, self.paths[name], apart) for name, one in self.file.surveys.items()}

    @cached_property
    def hashes(self) -> dict[Path, str]:
        """Of each file of a survey or table."""
        names = [*self.file.surveys, *self.file.tables]
        return {path: hash_input(path) for name in names for path in self.paths[name]}

    @cached_property
    def opened(self) -> AreaFile | None:
        """The file of the areas."""
        if self.areas is None:
            return None
        return read_areas(self.file.model_file(self.file.production.indicators[0]), self.areas)

    @cached_property
    def blocks(self) -> dict[tuple[Path, ...], BlockFile]:
        """The files that are read in blocks."""
        return {
            paths: block_file(self.file, name, paths[0], self.opened, self.memory)
            for name, groups in self.groups.items()
            for paths in groups
            if in_blocks(self.file, name, paths, self.memory)
        }

    @property
    def common(self) -> dict[str, Any]:
        """What every item hangs on."""
        return {"spec": self.file.sha256, "id": self.file.id, "versions": versions()}

    @property
    def areas_hash(self) -> str:
        """Of the file of the areas."""
        return "" if self.opened is None else self.opened.sha256

    def name(self, survey: str, paths: tuple[Path, ...]) -> str:
        """Return what a group of files is called."""
        place = self.groups[survey].index(paths) + 1
        return f"{survey} {place}: {', '.join(path.name for path in paths)}"

    def of_files(self, paths: Iterable[Path]) -> list[list[str]]:
        """Return names and hashes of files, for keys."""
        return [[path.name, self.hashes[path]] for path in paths]


def hash_input(path: Path) -> str:
    """Return the hash of a file, or of the names and bytes of all files that are read with it or in a folder.

    Raises
    ------
    SaeInputError
        If there is none, or it cannot be read.
    """
    try:
        kind = silc_kind(path)  # the four files are read whichever of them is named
        if not path.is_dir() and not kind:
            return hash_file(path)
        folder = path if path.is_dir() else path.parent
        inner = folder.iterdir() if kind else folder.rglob("*")
        parts = {one.relative_to(folder): one for one in inner if one.is_file()}
        if kind:
            parts = {name: one for name, one in parts.items() if silc_kind(one)}
        read = sorted(name for name in parts if not names_are_hidden(name.parts))
        text = "\n".join(f"{hash_file(parts[name])} {name.as_posix()}" for name in read)
    except OSError as error:
        raise SaeInputError(f"{path} cannot be read: {error.strerror or error}.") from None
    return sha256(text.encode(errors="surrogateescape")).hexdigest()


def sketch_items(inputs: Inputs) -> list[Item]:
    """Return the items that look at the files, each read once; of large ones they sum the records."""
    items = []
    for name, groups in inputs.groups.items():
        for paths in groups:
            title, hashes = inputs.name(name, paths), inputs.of_files(paths)
            own = {**inputs.common, "files": hashes}
            block = inputs.blocks.get(paths)
            if block is None:
                job = partial(_sketch, inputs.file, name, paths, hashes)
                items.append(Item(f"{title}: what it holds", own, job, cost=_cost(paths)))
                continue
            spans = _span_items(inputs, title, own, block, _cost(paths))
            items += spans
            needs = tuple(one.name for one in spans)
            job = partial(_block_sketch, block, paths, hashes, needs)
            items.append(Item(f"{title}: what it holds", own, job, needs, 0.1 * _cost(paths)))
    return items


def _span_items(
    inputs: Inputs, title: str, own: Mapping[str, Any], block: BlockFile, cost: float
) -> list[Item]:
    own = {**own, "areas": inputs.areas_hash, "yes or no": list(block.task.yes_or_no)}
    spans = block.spans
    return [
        Item(
            f"{title}: sums of part {k} of {len(spans)}",
            {**own, "span": list(span)},
            partial(_span, block.task, *span),
            cost=cost / len(spans),
        )
        for k, span in enumerate(spans, 1)
    ]


def sketches_of(inputs: Inputs, outputs: Mapping[str, Output]) -> dict[str, Sketch]:
    """Return the sketch of every survey from those of its files, which must belong together."""
    sketches = {}
    for name, groups in inputs.groups.items():
        some = [sketch_from_output(outputs[f"{inputs.name(name, one)}: what it holds"]) for one in groups]
        if len(some) > 1:  # a level may be in the records of some files only
            some = [replace(one, survey=with_levels(one.survey, inputs.file, inputs.opened)) for one in some]
        sketches[name] = joined_sketch(some, name)
    return sketches


def other_numbers(inputs: Inputs, outputs: Mapping[str, Output]) -> bool:
    """Note the indicators that hold other numbers than 0 and 1 after all; return whether there are any.

    Their sums are other sums: the items of their files are to be done again.
    """
    some = False
    for name, groups in inputs.groups.items():
        for paths in groups:
            places = outputs[f"{inputs.name(name, paths)}: what it holds"].facts.get("other numbers")
            if places:
                block, some = inputs.blocks[paths], True
                inputs.blocks[paths] = replace(block, task=block.task.with_numbers(places))
    return some


def estimation_items(
    inputs: Inputs, design: Design, shares: Sequence[Sequence[str]], extra: Mapping[str, Any]
) -> list[Item]:
    """Return the items from the records to the rows of each indicator.

    Parameters
    ----------
    inputs : Inputs
    design : Design
    shares : sequence of sequence of str
        Indicators that are estimated in one pass over the records: those of a shard.
    extra : mapping
        What else decides the rows: hashes of maps.
    """
    small = replace(design, registered=())
    shared = {**inputs.common, "areas": inputs.areas_hash}
    items: list[Item] = []
    for name, groups in inputs.groups.items():
        common = {**shared, "survey": inputs.of_files(path for paths in groups for path in paths)}
        for share in shares:
            served = [one for one in share if design.served.get(one) == name]
            if not served:
                continue
            parts = [_tables_item(inputs, small, name, paths, served, common) for paths in groups]
            items += [one for some in parts for one in some]
            needs = tuple(some[-1].name for some in parts)
            own = {**common, **extra}
            items += [_row_item(small, some, inputs.opened, needs, own) for some in design.together(served)]
    of_tables = [one for share in shares for one in share if design.served.get(one) in inputs.file.tables]
    for some in design.together(of_tables):
        own = {**shared, **extra, "table": inputs.of_files(inputs.paths[design.served[some[0]]])}
        items.append(_row_item(small, some, inputs.opened, (), own))
    return list({item.name: item for item in items}.values())  # shards have the same sums


def _tables_item(
    inputs: Inputs,
    design: Design,
    name: str,
    paths: tuple[Path, ...],
    served: Sequence[str],
    common: Mapping[str, Any],
) -> list[Item]:
    """Return the item that estimates from a file, the last, after those that it needs."""
    title, hashes = inputs.name(name, paths), inputs.of_files(paths)
    own = {**common, "files": hashes, "indicators": list(served)}
    block, estimates = inputs.blocks.get(paths), f"{title}: direct estimates of {', '.join(served)}"
    if block is None:
        job = partial(_tables, design, name, paths, hashes, inputs.opened, served)
        return [Item(estimates, own, job, cost=_cost(paths) * (1 + len(served) / 4))]
    spans = _span_items(inputs, title, {**inputs.common, "files": hashes}, block, _cost(paths))
    needs = tuple(one.name for one in spans)
    job = partial(_block_tables, design, name, block, served, needs)
    return [*spans, Item(estimates, own, job, needs, 0.1 * _cost(paths))]


def _row_item(
    design: Design,
    names: tuple[str, ...],
    areas: AreaFile | None,
    parts: tuple[str, ...],
    key: Mapping[str, Any],
) -> Item:
    crossings = design.crossings_of(names[0]) * len(names)
    cost = 0.05 + sum(0.02 * crossing.fits + 3e-4 * crossing.rows for crossing in crossings)
    job = partial(_rows, design, names, areas, parts)
    return Item(row_item(names), {**key, "indicators": list(names)}, job, parts, cost)


def row_item(indicators: Sequence[str]) -> str:
    """Return the name of the item that gives the rows of an indicator, or of those that add to 1 with it."""
    return f"rows of {', '.join(indicators)}"


def _cost(paths: Sequence[Path]) -> float:
    """Return what reading files costs, in seconds or so: 50 MB of text a second, less of Parquet."""
    files = [one for path in paths for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file()]
    return 0.1 + sum(one.stat().st_size for one in files) / 5e7


def _sketch(
    file: ProductionFile,
    name: str,
    paths: Sequence[Path],
    hashes: list[list[str]],
    needs: Mapping[str, Output],
) -> Output:
    with collected_warnings() as doubts:
        columns = [*filter(None, file.production.levels.values()), *file.production.grouping]
        survey = read_files(file.surveys[name], paths, columns)
        _refuse_changed(paths, hashes)
        sketch = sketched(file, survey)
    return sketch_output(sketch, doubts)


def _span(task: Task, first: int, last: int, needs: Mapping[str, Output]) -> Output:
    try:
        arrays, facts = stored(subtree(task, first, last))
    except OtherNumbersError as error:
        return Output(facts={"other numbers": list(error.places)})
    return Output(facts={"sums": facts, "warnings": []}, arrays=arrays)


def _sums(needs: Mapping[str, Output], spans: Sequence[str]) -> list[BlockSums]:
    return [restored(needs[name].arrays, needs[name].facts["sums"]) for name in spans]


def _block_sketch(
    block: BlockFile,
    paths: Sequence[Path],
    hashes: list[list[str]],
    spans: Sequence[str],
    needs: Mapping[str, Output],
) -> Output:
    places = sorted({k for name in spans for k in needs[name].facts.get("other numbers", ())})
    if places:
        return Output(facts={"other numbers": places})
    with collected_warnings() as doubts:
        sketch = block_sketch(block, block.whole(_sums(needs, spans)), hashes[0][1])
        _refuse_changed(paths, hashes)
    return sketch_output(sketch, doubts)


def _block_tables(
    design: Design,
    name: str,
    block: BlockFile,
    indicators: Sequence[str],
    spans: Sequence[str],
    needs: Mapping[str, Output],
) -> Output:
    carried = {one.name for one in block.task.indicators}
    with collected_warnings() as doubts:
        estimator = InBlocks(design, block.whole(_sums(needs, spans)))
        some = [one for one in indicators if one in carried]
        tables = survey_tables(design, name, block.task.records.name, estimator, some)
    return tables_output(tables, doubts)


def _tables(
    design: Design,
    name: str,
    paths: Sequence[Path],
    hashes: list[list[str]],
    areas: AreaFile | None,
    indicators: Sequence[str],
    needs: Mapping[str, Output],
) -> Output:
    with collected_warnings() as doubts:
        estimator = in_memory(design, name, paths, areas, indicators)
        files = name_some([path.name for path in paths])
        tables = survey_tables(design, name, files, estimator, indicators)
    _refuse_changed(paths, hashes)
    return tables_output(tables, doubts)


def _rows(
    design: Design,
    indicators: Sequence[str],
    areas: AreaFile | None,
    parts: Sequence[str],
    needs: Mapping[str, Output],
) -> Output:
    with collected_warnings() as doubts:
        tables = [tables_from_output(needs[part]) for part in parts]
        rows = indicator_rows(design, indicators, tables, areas)
    return rows_output(rows, doubts)


def _refuse_changed(paths: Sequence[Path], hashes: list[list[str]]) -> None:
    for path, (_, known) in zip(paths, hashes, strict=True):
        if hash_input(path) != known:
            raise SaeInputError(f"{path} was changed while the run went on.", hint="Run again.")
