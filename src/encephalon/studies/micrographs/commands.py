# SPDX-License-Identifier: Apache-2.0
"""Commands of the micrograph study: synthetic micrographs, and tables of published results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from encephalon.recipes.schema import OUTPUT, OVERWRITE, SEED, Flag, Section
from encephalon.studies.base import Command, Done

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress

__all__ = ["SIMULATORS", "TABLES"]


class PhantomOptions(Section):
    """What may be asked of `encephalon simulate micrographs`; see `synthetic.write_phantoms`."""

    output: Annotated[Path, OUTPUT]
    animals: Annotated[int, Flag("--animals", "Number of animals, half of them aged.")] = Field(
        default=12, ge=2, le=1000
    )
    images: Annotated[int, Flag("--images", "Micrographs an animal.")] = Field(
        default=6, ge=1, le=1000
    )
    size: Annotated[int, Flag("--size", "Side of each, pixels.")] = Field(
        default=256, ge=64, le=4096
    )
    seed: Annotated[int, SEED] = Field(default=0, ge=0, lt=2**32)
    overwrite: Annotated[bool, OVERWRITE] = False


RECIPE = Flag("--recipe", "The recipe that names the columns.", "NAME")


class ArrayOptions(Section):
    """What may be asked of `encephalon table import-arrays`."""

    folder: Annotated[Path, Flag("", "np_images.npy, labels.npy and features.npy.", "FOLDER")]
    output: Annotated[
        Path, Flag("-o --output", "The table to write: .csv, .tsv or .parquet.", "PLACE")
    ]
    recipe: Annotated[str, RECIPE] = "micrographs-published"
    overwrite: Annotated[bool, OVERWRITE] = False


class ExportOptions(Section):
    """What may be asked of `encephalon table export-arrays`."""

    file: Annotated[Path, Flag("", "CSV, TSV, Parquet or Excel; a row an image.", "TABLE")]
    output: Annotated[
        Path, Flag("-o --output", "Folder for np_images, labels and features.npy.", "FOLDER")
    ]
    recipe: Annotated[str, RECIPE] = "micrographs-published"
    silhouettes: Annotated[
        bool, Flag("--silhouettes", "The images went through the published steps already.")
    ] = False
    overwrite: Annotated[bool, OVERWRITE] = False


class LightOptions(Section):
    """What may be asked of `encephalon table count-lights`."""

    file: Annotated[Path, Flag("", "A table with a light in each row.", "PREDICTIONS")]
    by: Annotated[str, Flag("--by", "Columns to count by, between commas.", "COLUMNS")]
    light: Annotated[str, Flag("--light", "Column of Green, Amber and Red.", "COLUMN")] = "light"


def _micrographs(asked: PhantomOptions, progress: Progress) -> Done:
    """Write synthetic micrographs of vessels, and the spreadsheet that says what they show.

    Aged animals have a deposit of dark grains, whose box the sheet names.

    \b
    Example:
        encephalon simulate micrographs -o trial
        encephalon table images trial trial/sheet.csv -o trial/table.csv --id "Image ID" \\
          --id-rule before-underscore
    """
    from encephalon.studies.micrographs.synthetic import write_phantoms

    del progress
    said = asked.model_dump()
    sheet = write_phantoms(said.pop("output"), **said)
    count = asked.animals * asked.images
    return Done({"sheet": sheet, "images": count}, f"{sheet}: {count} micrographs")


def _import_arrays(asked: ArrayOptions, progress: Progress) -> Done:
    """Make a table, and float TIFFs, of the arrays that 3BTRON's preprocessing wrote.

    \b
    Example:
        encephalon table import-arrays arrays -o table.csv
    """
    from encephalon.recipes.loading import load_recipe
    from encephalon.studies.micrographs.published.data import table_of_arrays

    del progress
    columns = load_recipe(asked.recipe).table
    written = table_of_arrays(asked.folder, asked.output, columns, asked.overwrite)
    return Done({"table": written}, f"{written}")


def _export_arrays(asked: ExportOptions, progress: Progress) -> Done:
    """Write the arrays that 3BTRON's preprocessing would write of a table of micrographs.

    \b
    Example:
        encephalon table export-arrays table.csv -o arrays
    """
    from encephalon.recipes.loading import load_recipe
    from encephalon.studies.micrographs.preprocessing import Preprocessing
    from encephalon.studies.micrographs.published.data import arrays_of_table
    from encephalon.studies.micrographs.settings import micrograph_settings
    from encephalon.tables.reading import read_table

    del progress
    more = {"study.silhouettes": "true"} if asked.silhouettes else {}
    recipe = load_recipe(asked.recipe, more)
    silhouette = Preprocessing(micrograph_settings(recipe), "published").silhouette
    table = read_table(asked.file, recipe.table)
    count = arrays_of_table(table, silhouette, asked.output, asked.overwrite)
    return Done({"folder": asked.output, "images": count}, f"{asked.output}: {count} images")


def _count_lights(asked: LightOptions, progress: Progress) -> Done:
    """Count the traffic lights of predictions by sex, region or any other column.

    \b
    Example:
        encephalon table count-lights predictions/predictions.csv --by sex,region
    """
    from encephalon.evaluation.traffic_light import breakdown
    from encephalon.tables.reading import read_table
    from encephalon.tables.schema import Columns

    del progress
    read = read_table(asked.file, Columns())
    columns = [name.strip() for name in asked.by.split(",") if name.strip()]
    for name in (*columns, asked.light):
        read.require(name)
    rows: Any = read.frame.to_dict(orient="records")
    counts = breakdown(read.texts(asked.light), rows, columns)
    return Done({"table": asked.file, "counts": counts}, counts)


SIMULATORS = {"micrographs": Command(PhantomOptions, _micrographs)}
TABLES = {
    "import-arrays": Command(ArrayOptions, _import_arrays),
    "export-arrays": Command(ExportOptions, _export_arrays),
    "count-lights": Command(LightOptions, _count_lights),
}
