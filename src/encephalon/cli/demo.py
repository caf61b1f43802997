# SPDX-License-Identifier: Apache-2.0
"""`encephalon demo`: the main job, on a head that the package makes itself, as `bench` does too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console

PHANTOM, SAMPLES, TABLE = "phantom.nii.gz", "samples", "table.csv"


def demo(
    console: Console,
    output: flags.Output = Path("demo-output"),
    image: Annotated[
        Path | None,
        typer.Option("--image", help="Your own scan in the phantom's place.", metavar="FILE"),
    ] = None,
    model: flags.ModelOption = "brain-extraction",
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    overwrite: flags.Overwrite = False,
) -> None:
    """Writes the result (a mask), its JSON sidecar and a report with pictures, and says where.

    \b
    Example:
        encephalon demo --image scan.nii.gz
        encephalon demo --model isotropic
    """
    from encephalon.api import load_model
    from encephalon.cli.prediction import do

    loaded = load_model(model, device=device, threads=threads, offline=True)
    scan = image if image is not None else _made_up(loaded.study.demo, output, overwrite)
    console.say(f"scan: {scan}")
    work = loaded.plan([scan], output, overwrite=overwrite)
    result = do(console, loaded, work)
    for one in work.planned:
        for kind, path in one.images.items():
            if path.exists():
                console.say(f"{kind}: {path}")
                console.say(f"sidecar: {one.sidecars[kind]}")
    raise typer.Exit(result.exit_code)


def _made_up(
    simulate: Callable[[Path, bool], object] | None, output: Path, overwrite: bool
) -> Path:
    """Samples as the model's study makes them for a demo, or a head phantom."""
    place = output / (SAMPLES if simulate else PHANTOM)
    if (place / TABLE if simulate else place).exists() and not overwrite:
        return place  # of the last time, whole
    if simulate is None:
        return write_phantom(place, overwrite=overwrite)
    simulate(place, overwrite)
    return place


def write_phantom(
    path: Path, *, shape: Sequence[int] = (192, 240, 240), overwrite: bool = False
) -> Path:
    """Write the head phantom, `shape` voxels of 1 mm, as a float32 image; returns `path`."""
    from encephalon.io.atomic import refuse_existing
    from encephalon.io.reading import write_image
    from encephalon.synthetic.head import head_phantom

    refuse_existing(path, overwrite)
    # Axes as many scanners store them, so that orientation is put to the test.
    scan = head_phantom(shape, codes="LIA").image
    return write_image(scan.data, path, scan, overwrite)
