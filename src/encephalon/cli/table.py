# SPDX-License-Identifier: Apache-2.0
"""`encephalon table bids | images | check | split | join | verify-labels`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console
from encephalon.cli.register import study_commands

if TYPE_CHECKING:
    from pandas import DataFrame

    from encephalon.tables.schema import Table

File = Annotated[Path, typer.Argument(metavar="TABLE", help="CSV, TSV, Parquet or Excel.")]
Recipe = Annotated[
    str | None, typer.Option("--recipe", help="The recipe that names the columns.", metavar="NAME")
]
Id = Annotated[str | None, typer.Option("--id", help="Column of the ids.", metavar="COLUMN")]
Image = Annotated[
    str | None, typer.Option("--image", help="Column of the image paths.", metavar="COLUMN")
]
Target = Annotated[
    str | None, typer.Option("--target", help="Column of what is learnt.", metavar="COLUMN")
]
Group = Annotated[
    str | None,
    typer.Option("--group", help="Column of what may never straddle a split.", metavar="COLUMN"),
]
Split = Annotated[
    str | None, typer.Option("--split", help="Column of train, validation, test.", metavar="COLUMN")
]
TableOut = Annotated[
    Path, typer.Option("-o", "--output", help="The table to write: .csv, .tsv or .parquet.")
]


def bids(
    console: Console,
    folder: Annotated[Path, typer.Argument(metavar="BIDS_DIR", help="A BIDS dataset.")],
    output: TableOut,
    chosen: flags.Chosen,
    wide: Annotated[
        bool, typer.Option("--wide", help="One row a session, a column for each kind of image.")
    ] = False,
    overwrite: flags.Overwrite = False,
) -> None:
    """Make a table of the images of a BIDS dataset.

    \b
    Example:
        encephalon table bids study -o heads.csv --suffix T1w,FLAIR
    """
    from encephalon.tables.make import bids_table

    frame = bids_table(folder, relative_to=output.parent, wide=wide, **chosen.words())
    _write(console, frame, output, overwrite)


def images(
    console: Console,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images, in sub-folders too.")],
    output: TableOut,
    sheet: Annotated[
        Path | None, typer.Argument(metavar="SHEET", help="CSV, TSV, Parquet or Excel; a row each.")
    ] = None,
    id_: Annotated[
        str, typer.Option("--id", help="Column of SHEET with the ids.", metavar="COLUMN")
    ] = "id",
    id_rule: Annotated[
        str,
        typer.Option(
            "--id-rule",
            help="How a file name becomes an id: stem, before-underscore, or a regular expression "
            "with one group.",
            metavar="RULE",
        ),
    ] = "stem",
    rename: Annotated[
        list[str] | None,
        typer.Option(
            "--rename", help="Rename a column of SHEET; may be repeated.", metavar="OLD=NEW"
        ),
    ] = None,
    remainder: Annotated[
        bool, typer.Option("--remainder", help="Leave out rows of SHEET that have no image.")
    ] = False,
    images_only: Annotated[
        bool, typer.Option("--images-only", help="Leave out images that SHEET has no row for.")
    ] = False,
    overwrite: flags.Overwrite = False,
) -> None:
    """Make a table of a folder of images and a spreadsheet.

    \b
    Example:
        encephalon table images micrographs study.csv -o table.csv --id-rule before-underscore
    """
    from encephalon.tables.make import folder_table

    frame = folder_table(
        folder,
        sheet,
        id_column=id_,
        id_rule=id_rule,
        relative_to=output.parent,
        rename=flags.settings(rename, "--rename"),
        remainder=remainder,
        images_only=images_only,
    )
    _write(console, frame, output, overwrite)


def check(
    console: Console,
    file: File,
    recipe: Recipe = None,
    id_: Id = None,
    image: Image = None,
    target: Target = None,
    group: Group = None,
    split: Split = None,
    contents: Annotated[
        bool, typer.Option("--contents", help="Also look for identical files across parts.")
    ] = False,
    no_images: Annotated[
        bool,
        typer.Option(
            "--no-images",
            help="Check the rest of a table without images; so it is without RECIPE, where there "
            "is no column of them.",
        ),
    ] = False,
) -> None:
    """Check a table: files, ids, classes and other values, leaks.

    \b
    Example:
        encephalon table check split.csv --recipe brain-extraction
    """
    from encephalon.tables.checks import checked
    from encephalon.tables.leakage import audit, require_clean

    read = _read(file, recipe, id=id_, image=image, target=target, group=group, split=split)
    unnamed = recipe is None and image is None
    if no_images or (unnamed and not any(map(read.has, read.columns.inputs.values()))):
        read = replace(read, columns=replace(read.columns, inputs={}))
    table, columns = checked(read), read.columns
    found: dict[str, Any] = {"table": file, "rows": len(table), "faults": []}
    sentences = [f"{file}: {len(table)} rows, no faults"]
    if not columns.inputs:
        sentences[0] += "; there are no images, so no files were looked at"
    if columns.classes and table.has(columns.target):
        found["classes"] = Counter(name or "no class" for name in table.texts(str(columns.target)))
        sentences.append(_counted(found["classes"]))
    if columns.split is not None and table.has(columns.split):
        report = audit(table, contents=contents)
        require_clean(table, report)
        found["parts"] = _parts(table)
        sentences += [_shares(table), *report.sentences()]
    elif table.has(columns.group) and len(groups := set(table.texts(str(columns.group)))) == 1:
        found["groups"] = 1
        sentences.append(
            f"all rows are of one group, {groups.pop()!r} in {columns.group!r}: no split can keep "
            "it out of the training, so add rows of others or name another group"
        )
    console.result(found, "\n".join(sentences))


def split(
    console: Console,
    file: File,
    output: TableOut,
    recipe: Recipe = None,
    id_: Id = None,
    image: Image = None,
    group: Group = None,
    validation: Annotated[
        float, typer.Option("--validation", help="Wished fraction of the rows.", min=0, max=1)
    ] = 0.1,
    test: Annotated[
        float, typer.Option("--test", help="Wished fraction of the rows.", min=0, max=1)
    ] = 0.1,
    folds: Annotated[
        int | None, typer.Option("--folds", help="Number folds instead of parts.", min=2)
    ] = None,
    stratify: Annotated[
        list[str] | None, typer.Option("--stratify", help="Columns whose mixture the parts share.")
    ] = None,
    seed: flags.Seed = 0,
    overwrite: flags.Overwrite = False,
) -> None:
    """Draw parts, or folds, that no group straddles.

    \b
    Example:
        encephalon table split heads.csv -o split.csv --recipe brain-extraction
    """
    from encephalon.tables.reading import write_table
    from encephalon.tables.splits import SplitOptions, fold_table, split_table

    table = _read(file, recipe, id=id_, image=image, group=group)
    columns, strata = table.columns, tuple(flags.words(stratify) or ())
    if folds is not None:
        table = fold_table(table, folds, strata, seed=seed or 0)
        counts, words = Counter(table.texts("fold")), f"{folds} folds"
    else:
        options = SplitOptions(validation, test, strata, seed=seed or 0)
        table = split_table(table, options)
        counts, words = Counter(_parts(table)), _shares(table)
    frame = table.frame.copy()
    for column in columns.file_columns().values():
        if column in frame.columns:
            frame[column] = _moved(table, column, output.parent)
    written = write_table(frame, output, overwrite)
    console.result(
        {"table": written, "rows": len(table), "parts": dict(counts)}, f"{written}: {words}"
    )


def join(
    console: Console,
    left: File,
    right: Annotated[Path, typer.Argument(metavar="OTHER", help="The table whose columns to add.")],
    output: TableOut,
    id_: Annotated[str, typer.Option("--id", help="Column of the ids in TABLE.")] = "id",
    other_id: Annotated[
        str | None, typer.Option("--other-id", help="Column of the ids in OTHER.")
    ] = None,
    remainder: Annotated[
        bool, typer.Option("--remainder", help="Allow rows of OTHER that TABLE does not have.")
    ] = False,
    overwrite: flags.Overwrite = False,
) -> None:
    """Join two tables one to one, by id.

    \b
    Example:
        encephalon table join heads.csv ages.csv -o joined.csv --id subject
    """
    from encephalon.tables.make import join_tables
    from encephalon.tables.reading import read_table
    from encephalon.tables.schema import Columns

    one, other = read_table(left, Columns(id=id_)), read_table(right, Columns(id=other_id or id_))
    _write(console, join_tables(one, other, remainder=remainder), output, overwrite)


def verify_labels(
    console: Console,
    file: File,
    recipe: Recipe = None,
    id_: Id = None,
    image: Image = None,
    target: Target = None,
) -> None:
    """Read every label image and its scan.

    \b
    Example:
        encephalon table verify-labels heads.csv --recipe brain-extraction
    """
    from encephalon.errors import TableError
    from encephalon.tables.checks import checked, fault_message
    from encephalon.tables.checks import verify_labels as verify

    table = checked(_read(file, recipe, id=id_, image=image, target=target))
    faults = verify(table)
    if faults:
        raise TableError(fault_message(table, faults))
    console.result(
        {"table": file, "rows": len(table), "faults": []},
        f"{file}: {len(table)} label images, no faults",
    )


def _read(file: Path, recipe: str | None, **named: str | None) -> Table:
    """The table by the recipe's columns, or the default ones, and those that flags name.

    A column that a flag names must be there, lest a slip let groups straddle.
    """
    from encephalon.api import load_recipe
    from encephalon.tables.reading import read_table
    from encephalon.tables.schema import Columns

    columns = Columns() if recipe is None else load_recipe(recipe, table=file).table
    changes = flags.given(**named)
    if "image" in changes:
        changes["inputs"] = {"image": changes.pop("image")}
    table = read_table(file, replace(columns, **changes))
    for column in filter(None, named.values()):
        table.require(column)
    return table


def _write(console: Console, frame: DataFrame, output: Path, overwrite: bool) -> None:
    from encephalon.tables.reading import write_table

    written, rows = write_table(frame, output, overwrite), len(frame)
    console.result({"table": written, "rows": rows}, f"{written}: {rows} rows")


def _parts(table: Table) -> dict[str, int]:
    return dict(Counter(part or "none" for part in table.texts(table.columns.split or "split")))


def _shares(table: Table) -> str:
    return _counted(_parts(table))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _moved(table: Table, column: str, folder: Path) -> list[str | None]:
    """Relative paths of a column, rewritten from the folder that the copy will lie in."""
    import os

    from encephalon.io.files import expanded

    cells: list[str | None] = []
    for cell in table.texts(column):
        relative = cell and not expanded(cell).is_absolute()
        path = os.path.relpath(table.path(cell).absolute(), folder.absolute()) if relative else cell
        cells.append(Path(path).as_posix() if path else None)
    return cells


table = (bids, images, check, split, join, verify_labels, *study_commands("tables"))
simulate = study_commands("simulators")
