# SPDX-License-Identifier: Apache-2.0
"""`encephalon data list | get`."""

from __future__ import annotations

from typing import Annotated

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, table


def list_(as_json: flags.AsJson = False) -> None:
    """List the public images that can be fetched by name.

    \b
    Example:
        encephalon data list
    """
    from encephalon.tables.public_data import public_sets

    rows = [
        {
            "name": one.name,
            "rows": len({file.row for file in one.files}),
            "files": len(one.files),
            "licence": one.licence,
            "sha256": "published" if all(file.sha256 for file in one.files) else "of first fetch",
            "title": one.title,
        }
        for one in public_sets().values()
    ]
    Console(as_json=as_json).result(rows, lambda: table(rows, list(rows[0])))


def get(
    console: Console,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name from `encephalon data list`, or a TOML file like its own."
        ),
    ],
    output: flags.Output,
    mirror: flags.Mirror = None,
    offline: flags.Offline = False,
    overwrite: flags.Overwrite = False,
) -> None:
    """Fetch public images, compare each sha256, and write their table.

    \b
    Example:
        encephalon data get ds000114 -o heads
        encephalon evaluate brain-extraction -t heads/table.csv -o scores --option csf=false
    """
    from encephalon.tables.public_data import get_public_set

    with console.progress(None, f"fetching {name}") as advance:
        path = get_public_set(
            name, output, offline=offline, mirror=mirror, overwrite=overwrite, progress=advance
        )
    console.result({"data": name, "table": path}, f"{name}: {path}")


data = (list_, get)
