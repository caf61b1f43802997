# SPDX-License-Identifier: Apache-2.0
"""The flags that verbs share, in one table: same name, same meaning, same help everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from encephalon.errors import UsageError

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def device_name(value: str) -> str:
    """`value` when it names a device; raises UsageError otherwise."""
    if _DEVICE.fullmatch(value) is None:
        message = f"--device takes auto, cpu, cuda, cuda:N or mps, and got {value!r}."
        raise UsageError(message)
    return value


def settings(pairs: list[str] | None) -> dict[str, str]:
    """KEY=VALUE words as a dictionary; raises UsageError for a word without `=`."""
    found: dict[str, str] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals):
            message = f"--set takes KEY=VALUE, such as training.epochs=5, and got {pair!r}."
            raise UsageError(message)
        found[key.strip()] = value.strip()
    return found


def words(value: str | None) -> list[str] | None:
    """`a,b c` as ["a", "b", "c"]; None stays None."""
    return None if value is None else [word for word in re.split(r"[,\s]+", value) if word]


def given(**options: Any) -> dict[str, Any]:
    """Only the options that the user set, so that the study's own defaults hold for the rest."""
    return {name: value for name, value in options.items() if value is not None}


def _option(*names: str, text: str, callback: Callable[..., Any] | None = None, **more: Any) -> Any:
    return typer.Option(*names, help=text, callback=callback, **more)


Output = Annotated[Path, _option("-o", "--output", text="Where the results go.")]
Device = Annotated[
    str,
    _option(
        "--device",
        text="auto, cpu, cuda, cuda:N or mps; falls back aloud to the CPU.",
        callback=device_name,
        metavar="NAME",
    ),
]
Threads = Annotated[
    int | None, _option("--threads", text="CPU threads; all cores by default.", min=1, metavar="N")
]
Overwrite = Annotated[bool, _option("--overwrite", text="Replace results that exist.")]
Offline = Annotated[bool, _option("--offline", text="Never touch the network.")]
Seed = Annotated[int | None, _option("--seed", text="Seed of every random draw.", metavar="N")]
Verbose = Annotated[
    int,
    _option(
        "-v", "--verbose", text="Say more; -vv adds tracebacks.", count=True, show_default=False
    ),
]
Quiet = Annotated[bool, _option("-q", "--quiet", text="Say errors only.")]
AsJson = Annotated[bool, _option("--json", text="Print the result as JSON.")]
DryRun = Annotated[bool, _option("--dry-run", text="Say what would be done, and do nothing.")]
Table = Annotated[
    Path, _option("-t", "--table", text="CSV, TSV or Parquet; one row a sample.", metavar="FILE")
]
Set = Annotated[
    list[str] | None,
    _option(
        "--set",
        text="Change one value of the recipe, such as training.epochs=5; may be repeated.",
        metavar="KEY=VALUE",
    ),
]
