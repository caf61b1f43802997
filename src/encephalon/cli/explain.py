# SPDX-License-Identifier: Apache-2.0
"""`encephalon explain MODEL INPUT... -o OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, error

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        help="Image files, a folder of them, a table, or a BIDS dataset.",
        readable=False,  # one that is not fails alone, like every other bad file
    ),
]
Class = Annotated[
    str | None,
    typer.Option("--class", help="Class that maps are of; the predicted one by default."),
]
Layer = Annotated[
    str | None,
    typer.Option("--layer", help="Layer that maps are taken from, such as encoder.layer4."),
]


def explain(
    console: Console,
    model: flags.Model,
    inputs: Inputs,
    output: flags.Output,
    target_class: Class = None,
    layer: Layer = None,
    more: flags.Options = None,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    overwrite: flags.Overwrite = False,
    offline: flags.Offline = False,
) -> None:
    """For every image a map (float32 TIFF on the pixels of the raw image) and a panel (PNG), sorted
    into folders by certainty, with explanations.csv and report.html. A file that fails is named at
    the end, the others are done, and the exit code is 1.

    \b
    Example:
        encephalon explain run vessels.csv -o maps --class Aged
    """
    from encephalon import api

    with console.progress(None, "explaining") as advance:
        result: Any = api.explain(
            model,
            inputs,
            output,
            target_class=target_class,
            layer=layer,
            device=device,
            threads=threads,
            overwrite=overwrite,
            offline=offline,
            progress=advance,
            **flags.values(more),
        )
    for failure in result.failures:
        error(failure.message)
    console.result(result.record(), lambda: str(result))
    raise typer.Exit(result.exit_code)
