# SPDX-License-Identifier: Apache-2.0
"""`encephalon demo`: the main job, on a head that the package makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console
from encephalon.cli.phantom import write_phantom

PHANTOM = "phantom.nii.gz"


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
    """Writes a mask, its JSON sidecar and an HTML report with pictures, and says where they are.

    \b
    Example:
        encephalon demo --image scan.nii.gz
    """
    from encephalon.api import load_model
    from encephalon.cli.prediction import do

    console = Console(verbose, quiet, as_json)
    loaded = load_model(model, device=device, threads=threads, offline=True)
    scan = image if image is not None else write_phantom(output / PHANTOM, overwrite=overwrite)
    console.say(f"scan: {scan}")
    work = loaded.plan([scan], output, overwrite=overwrite)
    result = do(console, loaded, work)
    for one in work.planned:
        for kind, path in one.images.items():
            if path.exists():
                console.say(f"{kind}: {path}\nsidecar: {one.sidecars[kind]}")
    raise typer.Exit(result.exit_code)
