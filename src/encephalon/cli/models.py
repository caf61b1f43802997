# SPDX-License-Identifier: Apache-2.0
"""`encephalon models list | info | get | verify | import | export`."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, table

_FIGURES = 6
"""Figures that the short card shows."""
_SHORT = 240
"""Characters of a text there."""

if TYPE_CHECKING:
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile


class Format(StrEnum):
    """What `models export` makes."""

    zip = "zip"
    hub = "hub"
    monai = "monai"


Usable = Annotated[bool, typer.Option("--usable", help="Leave out what cannot be used here.")]
Full = Annotated[bool, typer.Option("--full", help="Everything that is known, not the short card.")]


def list_(usable: Usable = False, as_json: flags.AsJson = False) -> None:
    """List every model: those that ship, those installed, and published ones of others.

    \b
    Example:
        encephalon models list --usable
    """
    # Flags alone: a word would be taken by pydantic, which takes as long as all the rest.
    from encephalon.models.catalogue import list_models

    found = [model for model in list_models() if not usable or model.where != "listed"]
    rows = [asdict(model) for model in found]
    shown = [
        {
            **row,
            "size": f"{row['size'] / 1e6:.1f} MB" if row["size"] else "unknown",
            "licence": row["licence"].partition(";")[0].partition(",")[0],
        }
        for row in rows
    ]
    columns = ["name", "where", "task", "mode", "size", "licence", "title"]
    Console(as_json=as_json).result(rows, lambda: table(shown, columns))


def info(console: Console, model: flags.Model, full: Full = False) -> None:
    """Say what a model is for, how good it is, and where it fails.

    \b
    Example:
        encephalon models info brain-extraction
        encephalon models info brainy --full
    """
    from encephalon.models.catalogue import model_info

    found = model_info(model)
    console.result(found, lambda: "\n".join(_lines(found) if full else _short(found)))


def get(
    console: Console,
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name from `encephalon models list`, or hf://OWNER/NAME[@REVISION].",
        ),
    ],
    mirror: flags.Mirrors = None,
    offline: flags.Offline = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="Give up after so many; what has come is kept.  [default: 360]",
            min=0.01,
            metavar="N",
        ),
    ] = None,
) -> None:
    """Fetch a model, compare its sha256, and keep it.

    A mirror is an address or a folder that has the file, or an archive (.zip, .tar) with it inside.

    \b
    Example:
        encephalon models get brainy
        encephalon models get brainy --mirror /media/stick --mirror https://mirror.example.org
        encephalon models get hf://OWNER/NAME
    """
    from encephalon.models.download import get_model

    limit = None if minutes is None else 60 * minutes
    with console.progress(None, f"fetching {model}"):
        found = get_model(model, offline=offline, mirror=mirror, limit=limit)
    _announce(console, found)


def cite(console: Console, model: flags.Model) -> None:
    """A report of predictions ends with the same, and the settings of its run.

    \b
    Example:
        encephalon cite brain-extraction
    """
    from encephalon.models.catalogue import find_model, model_info
    from encephalon.reports.citation import cite as cited

    about = model_info(model)
    found = cited({**about, **(find_model(model).describe() if about["path"] else {})})
    console.result(vars(found), f"{found.methods}\n\n{found.bibtex}")


def verify(console: Console, model: flags.Model) -> None:
    """Hash every file of a model and compare, and say what its card leaves out.

    \b
    Example:
        encephalon models verify brain-extraction
    """
    from encephalon.models.catalogue import model_info, verify_model

    files, about = verify_model(model), model_info(model)
    origin, missing = about.get("sha256_is", "in model.toml"), about.get("missing", [])
    text = [f"{sha256}  {name}" for name, sha256 in files.items()]
    text += [f"{model}: every file is whole (sha256 {origin})"]
    text += [f"{model}: its card leaves out: {', '.join(missing).lower()}"] if missing else []
    found = {"model": model, "files": files, "sha256_is": origin, "card_leaves_out": missing}
    console.result(found, "\n".join(text))


def import_(
    console: Console,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A model folder, a bundle of MONAI, a .zip of either, or a .h5 or .pt file.",
        ),
    ],
    overwrite: flags.Overwrite = False,
) -> None:
    """Keep a model that came as a file or folder, so that its name works.

    \b
    Example:
        encephalon models import stick/first-0.1.0.zip
    """
    from encephalon.models.exchange import import_model

    _announce(console, import_model(source, overwrite=overwrite))


def export(
    console: Console,
    model: flags.Model,
    output: flags.Output,
    kind: Annotated[
        Format,
        typer.Option(
            "--format",
            help="zip: one file; hub: a folder for the Hugging Face Hub; monai: a bundle of MONAI.",
        ),
    ] = Format.zip,
    overwrite: flags.Overwrite = False,
) -> None:
    """Write a model to what `models import` takes: one file, or a folder that others read, too.

    \b
    Example:
        encephalon models export runs/mine -o mine.zip
        encephalon models export runs/mine -o mine-hub --format hub
        encephalon models export runs/mine -o mine-monai --format monai
    """
    from encephalon.models.exchange import export_model

    path = export_model(model, output, format=kind.value, overwrite=overwrite)
    console.result({"model": model, "file": path}, str(path))


def _announce(console: Console, model: ModelFolder | PublishedFile) -> None:
    entry = getattr(model, "entry", None)
    origin = f" (sha256 {entry.sha256_is})" if entry else ""
    data = {"model": model.name, "path": model.path, "sha256": model.sha256}
    console.result(data, f"{model.name}: {model.path}{origin}")


def _short(found: dict[str, Any]) -> list[str]:
    """The short card: what one asks first, one line each."""
    from encephalon.models.card import UNKNOWN, Figure

    card = found.get("card", {})
    figures = [str(Figure(**each)) for each in found.get("figures", ())]
    is_here = found["path"] is not None
    told = {
        "what": card.get("description"),
        "intended use": card.get("intended_use"),
        "inputs": card.get("inputs"),
        "task": f"{found['task']} (study {found['study']}, mode {found['mode']})",
        "training data": card.get("training_data"),
        "evaluation": card.get("evaluation_data"),
        "figures": "; ".join(figures[:_FIGURES]) + (" ..." if figures[_FIGURES:] else ""),
        "known failures": card.get("caveats"),
        "licence": found.get("licence"),
        "citation": found.get("citation"),
        "mode published": found.get("published_mode"),
        "hosted": found.get("source"),
        "size": f"{found['size'] / 1e6:.1f} MB" if found.get("size") else None,
        "sha256": found.get("sha256_is") and f"{found['sha256']} ({found['sha256_is']})",
        "here": str(found["path"]) if is_here else f"no: encephalon models get {found['name']}",
    }
    if found.get("kind") == "listed":
        told["here"] = f"no, and it cannot be used here: {found['obtain']}"
    lines = [f"{found['name']} {found.get('version', '')}: {found.get('title', '')}".rstrip(": ")]
    width = max(map(len, told))
    for key, value in told.items():
        if value is not None:
            lines.append(
                f"  {key:<{width}}  {shorten(value or UNKNOWN, _SHORT, placeholder=' ...')}"
            )
    return [*lines, "  (--full says everything that is known)"]


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    """Nested fields as `key: value` lines, the inner ones indented."""
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, f"{indent}  ")]
        else:
            lines.append(f"{indent}{key}: {'' if value is None else value}".rstrip())
    return lines


models = (list_, info, get, verify, import_, export)
