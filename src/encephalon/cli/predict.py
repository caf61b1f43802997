# SPDX-License-Identifier: Apache-2.0
"""`encephalon predict MODEL INPUT... -o OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        help="Image files, a folder of them, a DICOM folder, a table, or a BIDS dataset.",
        readable=False,  # one that is not fails alone, like every other bad file
    ),
]


def predict(
    console: Console,
    model: flags.Model,
    inputs: Inputs,
    output: flags.Output,
    t1: flags.T1 = None,
    stack: flags.Stacks = None,
    more: flags.Options = None,
    suffix: flags.Suffix = None,
    participant_label: flags.Participants = None,
    session_label: flags.Sessions = None,
    report: flags.Report = True,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    overwrite: flags.Overwrite = False,
    offline: flags.Offline = False,
    dry_run: flags.DryRun = False,
    **options: Any,
) -> None:
    """Results lie on the grid of their input, each with a JSON sidecar; a folder also gets
    predictions.csv and report.html. A file that fails is named at the end, the others are done,
    and the exit code is 1.

    \b
    Example:
        encephalon predict brain-extraction scan.nii.gz -o masks
    """
    from encephalon.cli.prediction import run

    options = flags.asked(more, **options)
    selection = flags.selection(suffix, participant_label, session_label)
    batch = {**selection, **flags.companions(t1, stack)}
    run(
        console,
        {"model": model, "device": device, "threads": threads, "offline": offline, **options},
        {"inputs": inputs, "output": output, "overwrite": overwrite, **batch},
        report=report,
        dry_run=dry_run,
    )


flags.flagged(predict, flags.of_studies())
