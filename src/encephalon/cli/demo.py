# SPDX-License-Identifier: Apache-2.0
"""`encephalon demo`: the main job, on a head that the package makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console
from encephalon.cli.phantom import write_phantom

if TYPE_CHECKING:
    from encephalon.api import Model

PHANTOM, HEADS = "phantom.nii.gz", "heads"


def demo(
    output: flags.Output = Path("demo-output"),
    image: Annotated[
        Path | None,
        typer.Option("--image", help="Your own scan in the phantom's place.", metavar="FILE"),
    ] = None,
    model: flags.ModelOption = "brain-extraction",
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    overwrite: flags.Overwrite = False,
    verbose: flags.Verbose = 0,
    quiet: flags.Quiet = False,
    as_json: flags.AsJson = False,
) -> None:
    """Writes the result (a mask), its JSON sidecar and a report with pictures, and says where.

    \b
    Example:
        encephalon demo --image scan.nii.gz
        encephalon demo --model isotropic
    """
    from encephalon.api import load_model
    from encephalon.cli.prediction import do

    console = Console(verbose, quiet, as_json)
    loaded = load_model(model, device=device, threads=threads, offline=True)
    scan = image if image is not None else _made_up(loaded, output, overwrite)
    console.say(f"scan: {scan}")
    work = loaded.plan([scan], output, overwrite=overwrite)
    result = do(console, loaded, work)
    for one in work.planned:
        for kind, path in one.images.items():
            if path.exists():
                console.say(f"{kind}: {path}")
                console.say(f"sidecar: {one.sidecars[kind]}")
    raise typer.Exit(result.exit_code)


def _made_up(model: Model, output: Path, overwrite: bool) -> Path:
    """A head phantom for the model: one scan, or thick slices with a T1w where it takes both."""
    grouped = "t1w" in model.columns.inputs
    place = output / (HEADS if grouped else PHANTOM)
    if (place / "table.csv" if grouped else place).exists() and not overwrite:
        return place  # of the last time, whole
    if not grouped:
        return write_phantom(place, overwrite=overwrite)
    from encephalon.studies.isotropic.phantom import write_heads

    write_heads(place, subjects=1, overwrite=overwrite)
    return place
