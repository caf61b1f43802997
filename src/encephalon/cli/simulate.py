# SPDX-License-Identifier: Apache-2.0
"""`encephalon simulate micrographs`: images whose answer is known."""

from __future__ import annotations

from typing import Annotated

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console


def micrographs(
    output: flags.Output,
    animals: Annotated[
        int, typer.Option("--animals", help="Number of animals, half of them aged.", min=2)
    ] = 12,
    images: Annotated[int, typer.Option("--images", help="Micrographs an animal.", min=1)] = 6,
    size: Annotated[int, typer.Option("--size", help="Side of each, pixels.", min=64)] = 256,
    seed: flags.Seed = 0,
    overwrite: flags.Overwrite = False,
    quiet: flags.Quiet = False,
    as_json: flags.AsJson = False,
) -> None:
    """Write synthetic micrographs of vessels, and the spreadsheet that says what they show.

    Aged animals have a deposit of dark grains, whose box the sheet names.

    \b
    Example:
        encephalon simulate micrographs -o trial
        encephalon table images trial trial/sheet.csv -o trial/table.csv --id "Image ID" \\
          --id-rule before-underscore
    """
    from encephalon.studies.micrographs.phantom import write_phantoms

    sheet = write_phantoms(
        output, animals=animals, images=images, size=size, seed=seed or 0, overwrite=overwrite
    )
    count = animals * images
    Console(0, quiet, as_json).result(
        {"sheet": sheet, "images": count}, f"{sheet}: {count} micrographs"
    )


COMMANDS = (micrographs,)
