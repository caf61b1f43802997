# SPDX-License-Identifier: Apache-2.0
"""`encephalon evaluate MODEL -t TABLE -o OUT`."""

from __future__ import annotations

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console


def evaluate(
    console: Console,
    model: flags.Model,
    table: flags.Table,
    output: flags.Output,
    more: flags.Options = None,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    overwrite: flags.Overwrite = False,
    offline: flags.Offline = False,
) -> None:
    """Writes a score for each sample, a summary with intervals, and a report. The table names the
    scans and what is known of them, in columns that the model's recipe explains; of a table that
    was split only the part "test" is scored.

    \b
    Example:
        encephalon evaluate brain-extraction -t heads.csv -o evaluation
    """
    from encephalon import api

    with console.progress(None, "scoring") as advance:
        result = api.evaluate(
            model,
            table,
            output,
            device=device,
            threads=threads,
            overwrite=overwrite,
            offline=offline,
            progress=advance,
            **flags.values(more),
        )
    console.result(result.as_dict(), str(result))
    if result.failures:
        raise typer.Exit(1)
