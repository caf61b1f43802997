# SPDX-License-Identifier: Apache-2.0
"""`encephalon predict-bids BIDS_DIR OUT participant`: the order of every BIDS-App."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console
from encephalon.errors import UsageError

LEVEL = "participant"
_LABEL_FLAGS = ("--participant-label", "--session-label", "--session-id")


def gather_labels(words: Sequence[str]) -> list[str]:
    """`--participant-label 01 02`, as BIDS-Apps are called, as `--participant-label 01,02`.

    Only after the analysis level: before it the words that follow may be folders.
    """
    found: list[str] = []
    gathering = False
    for word in words:
        if gathering and not word.startswith("-") and not found[-1].startswith("-"):
            found[-1] += f",{word}"
            continue
        if word.startswith("-"):
            gathering = word.replace("_", "-") in _LABEL_FLAGS and LEVEL in found
        found.append(word)
    return found


def predict_bids(
    console: Console,
    bids_dir: Annotated[Path, typer.Argument(metavar="BIDS_DIR", help="A BIDS dataset.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Where the derivatives go.")],
    level: Annotated[str, typer.Argument(metavar="LEVEL", help="participant")],
    model: flags.ModelOption = "brain-extraction",
    participant_label: flags.Participants = None,
    session_label: flags.Sessions = None,
    suffix: flags.Suffix = None,
    more: flags.Options = None,
    report: flags.Report = True,
    device: flags.Device = "auto",
    threads: flags.BidsThreads = None,
    overwrite: flags.Overwrite = False,
    offline: flags.Offline = False,
    dry_run: flags.DryRun = False,
    **options: Any,
) -> None:
    """Writes BIDS-derivatives: sub-01_desc-brain_mask.nii.gz with its JSON, and
    dataset_description.json.

    \b
    Example:
        encephalon predict-bids /data/study /data/derivatives participant
    """
    from encephalon.cli.prediction import run
    from encephalon.io.bids import is_bids

    if level != LEVEL:
        raise UsageError(f"The analysis level must be {LEVEL!r}, and got {level!r}.")
    if bids_dir.is_dir() and not is_bids(bids_dir):
        raise UsageError(f"{bids_dir} is no BIDS dataset: it has no dataset_description.json.")
    options = flags.asked(more, **options)
    selection = flags.selection(suffix, participant_label, session_label)
    run(
        console,
        {"model": model, "device": device, "threads": threads, "offline": offline, **options},
        {"inputs": [bids_dir], "output": output, "overwrite": overwrite, **selection},
        report=report,
        dry_run=dry_run,
    )


flags.flagged(predict_bids, flags.of_studies())
