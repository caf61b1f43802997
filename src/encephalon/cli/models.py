# SPDX-License-Identifier: Apache-2.0
"""`encephalon models list | info | get | verify | import | export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, table

if TYPE_CHECKING:
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile


def list_(as_json: flags.AsJson = False) -> None:
    """List every model: packaged, installed, and to be had."""
    from encephalon.models.catalogue import list_models

    rows = [asdict(model) for model in list_models()]
    sizes = (f"{row['size'] / 1e6:.1f} MB" if row["size"] else "unknown" for row in rows)
    shown = [{**row, "size": size} for row, size in zip(rows, sizes, strict=True)]
    columns = ["name", "version", "mode", "where", "size", "sha256_is", "title"]
    Console(as_json=as_json).result(rows, lambda: table(shown, columns))


def info(console: Console, model: flags.Model) -> None:
    """Say everything that is known of a model."""
    from encephalon.models.catalogue import model_info

    found = model_info(model)
    console.result(found, lambda: "\n".join(_lines(found)))


def get(
    console: Console,
    model: Annotated[
        str, typer.Argument(metavar="NAME", help="A name from `encephalon models list`.")
    ],
    mirror: flags.Mirror = None,
    offline: flags.Offline = False,
) -> None:
    """Fetch a model, compare its sha256, and keep it."""
    from encephalon.models.download import get_model

    with console.progress(None, f"fetching {model}"):
        found = get_model(model, offline=offline, mirror=mirror)
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
    """Hash every file of a model and compare."""
    from encephalon.models.catalogue import model_info, verify_model

    files = verify_model(model)
    origin = model_info(model).get("sha256_is", "in model.toml")
    text = [f"{sha256}  {name}" for name, sha256 in files.items()]
    text += [f"{model}: every file is whole (sha256 {origin})"]
    console.result({"model": model, "files": files, "sha256_is": origin}, "\n".join(text))


def import_(
    console: Console,
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A model folder, a .zip of one, or a .h5 or .pt file."),
    ],
    overwrite: flags.Overwrite = False,
) -> None:
    """Keep a model that came as a file, so that its name works."""
    from encephalon.models.exchange import import_model

    _announce(console, import_model(source, overwrite=overwrite))


def export(
    console: Console,
    model: flags.Model,
    output: flags.Output,
    overwrite: flags.Overwrite = False,
) -> None:
    """Write a model to one file that `models import` takes."""
    from encephalon.models.exchange import export_model

    path = export_model(model, output, overwrite=overwrite)
    console.result({"model": model, "file": path}, str(path))


def _announce(console: Console, model: ModelFolder | PublishedFile) -> None:
    entry = getattr(model, "entry", None)
    origin = f" (sha256 {entry.sha256_is})" if entry else ""
    data = {"model": model.name, "path": model.path, "sha256": model.sha256}
    console.result(data, f"{model.name}: {model.path}{origin}")


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
