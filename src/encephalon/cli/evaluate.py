# SPDX-License-Identifier: Apache-2.0
"""`encephalon evaluate MODEL -t TABLE -o OUT`, and `encephalon explain MODEL INPUT... -o OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, error


def evaluate(
    model: flags.Model,
    table: flags.Table,
    output: flags.Output,
    running: flags.Running,
    console: Console,
) -> None:
    """Writes a score for each sample, a summary with intervals, and a report. The table names the
    scans and what is known of them, in columns that the model's recipe explains; of a table that
    was split only the part "test" is scored. In place of MODEL, a CSV file of predicted classes is
    scored without any model; say what its columns mean by --option: classes, target, prediction,
    id, group, strata, and light or green and amber.

    \b
    Example:
        encephalon evaluate brain-extraction -t heads.csv -o evaluation
        encephalon evaluate theirs.csv -t vessels.csv -o scores --option classes=Young,Aged \\
          --option prediction=likelihood
    """
    from encephalon import api

    loading, overwrite = running.loading(), running.overwrite
    with console.progress(None, "scoring") as advance:
        result = api.evaluate(
            model, table, output, overwrite=overwrite, progress=advance, **loading
        )
    console.result(result.as_dict(), str(result))
    if result.failures:
        raise typer.Exit(1)


def explain(
    model: flags.Model,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Image files, a folder of them, a table of images or tiles, or a BIDS dataset.",
            readable=False,  # one that is not fails alone, like every other bad file
        ),
    ],
    output: flags.Output,
    running: flags.Running,
    console: Console,
    target: Annotated[
        str | None,
        typer.Option("--target", help="What is explained, of a model that tells several things."),
    ] = None,
    target_class: Annotated[
        str | None,
        typer.Option("--class", help="Class that is explained; the predicted one by default."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", help="Layer that maps are taken from, such as encoder.layer4."),
    ] = None,
) -> None:
    """Serves models of micrographs, of slices, of the regions of microtomography, and of people.
    For every image a map (float32 TIFF on the pixels of the raw image) and a panel (PNG), sorted
    into folders by certainty; for every person what each input adds to the answer, with a map of
    each image in MNI space, edges.csv and columns.csv. explanations.csv and report.html have them
    all. What fails is named at the end, the others are done, and the exit code is 1.

    \b
    Example:
        encephalon explain run vessels.csv -o maps --class Aged
        encephalon explain run cohort/people.csv -o explained --target age
    """
    from encephalon import api

    with console.progress(None, "explaining") as advance:
        result: Any = api.explain(
            model,
            inputs,
            output,
            target=target,
            target_class=target_class,
            layer=layer,
            overwrite=running.overwrite,
            progress=advance,
            **running.loading(),
        )
    for failure in result.failures:
        error(failure.message)
    console.result(result.record(), lambda: str(result))
    raise typer.Exit(result.exit_code)
