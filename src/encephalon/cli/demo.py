# SPDX-License-Identifier: Apache-2.0
"""`encephalon demo` and `encephalon bench MODEL`: the main job, on images made by the package.

`demo` shows what comes of it, `bench` times whole processes, as a user starts them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, table
from encephalon.errors import RunError, UsageError

if TYPE_CHECKING:
    from encephalon.studies.base import Demo

PREDICT = ["-m", "encephalon", "predict"]
PHANTOM, SAMPLES, GRID = "phantom.nii.gz", "samples", "grid"


def demo(
    console: Console,
    output: flags.Output = Path("demo-output"),
    image: Annotated[
        Path | None,
        typer.Option("--image", help="Your own scan in the phantom's place.", metavar="FILE"),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "-m",
            "--model",
            help="brain-extraction, isotropic, another model's name or folder, or a study without "
            "a model of its own: microtomography, legibility.",
            metavar="MODEL",
        ),
    ] = "brain-extraction",
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    overwrite: flags.Overwrite = False,
) -> None:
    """Of a model: writes its results, their JSON sidecars and a report with pictures, and says
    where. Of a study: trains every method of it shortly, and compares them. What is there from the
    last time is used again.

    \b
    Example:
        encephalon demo --image scan.nii.gz
        encephalon demo --model isotropic
        encephalon demo --model microtomography
        encephalon demo --model legibility
    """
    from encephalon.api import load_model
    from encephalon.cli.predict import do

    shown = _study_of_that_name(model)
    if shown is not None:
        if image is not None:
            raise UsageError(f"{model} is a study, which makes its own images: drop --image.")
        _run_grid(console, shown, output, overwrite, {"device": device, "threads": threads})
        return
    loaded = load_model(model, device=device, threads=threads, offline=True)
    scan = image or _samples(loaded.study.demo, output, overwrite)
    console.say(f"scan: {scan}")
    work = loaded.plan([scan], output, overwrite=overwrite)
    result = do(console, loaded, work)
    for one in work.planned:
        for kind, path in one.images.items():
            if path.exists():
                console.say(f"{kind}: {path}")
                console.say(f"sidecar: {one.sidecars[kind]}")
    raise typer.Exit(result.exit_code)


def _study_of_that_name(name: str) -> Demo | None:
    """The demonstration of a study that trains its models first; None where `name` is a model."""
    from encephalon.studies.registry import list_studies, load_study

    found = load_study(name).demo if name in list_studies() else None
    return found if found and found.grid else None


def _run_grid(
    console: Console, shown: Demo, output: Path, overwrite: bool, how: dict[str, Any]
) -> None:
    """Train what a study is demonstrated with, and say where its comparison is."""
    from encephalon.api.grid import run_grid
    from encephalon.cli.grid import say_status

    table = shown.samples(output / SAMPLES, overwrite)
    console.say(f"samples: {table}")
    with console.progress(None, "training") as advance:
        found = run_grid(shown.grid, table, output / GRID, progress=advance, **how)
    say_status(console, found)


def _samples(shown: Demo | None, output: Path, overwrite: bool) -> Path:
    """Samples as the study makes them, or a head phantom; those of the last time stay."""
    if shown is not None:
        return shown.samples(output / SAMPLES, overwrite)
    scan = output / PHANTOM
    if overwrite or not scan.exists():
        write_phantom(scan, overwrite=overwrite)
    return scan


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


@dataclass(frozen=True)
class Timing:
    """One process: wall time, processor time, and the most memory that it held."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def bench(
    console: Console,
    model: flags.Model = "brain-extraction",
    image: Annotated[
        Path | None,
        typer.Option("--image", help="Your own scan; a phantom otherwise.", metavar="FILE"),
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", help="Number of processes.", min=1)] = 3,
    more: flags.Options = None,
    device: flags.Device = "cpu",
    threads: flags.Threads = None,
) -> None:
    """Each run is a new process that reads the scan, loads the model and writes the mask.

    \b
    Example:
        encephalon bench brain-extraction --threads 2
    """
    from tempfile import TemporaryDirectory

    options = [word for pair in more or [] for word in ("--option", pair)]
    options += ["--device", device, *(["--threads", str(threads)] if threads else [])]
    with TemporaryDirectory() as folder, console.progress(repeat, model) as advance:
        scan = image or write_phantom(Path(folder) / "phantom.nii.gz", shape=(256, 256, 256))
        timings = []
        for number in range(repeat):
            mask = Path(folder) / f"mask-{number}.nii.gz"
            timings.append(time_prediction(model, scan, mask, options))
            advance(number + 1, repeat, "")
    rows = [{"run": number, **asdict(one)} for number, one in enumerate(timings, start=1)]
    middle = median(one.seconds for one in timings)
    peak = max(one.peak_mib for one in timings)
    console.result(
        {"model": model, "runs": rows, "median_seconds": middle, "peak_mib": peak},
        lambda: f"{table(rows)}\nmedian {middle:.2f} s, peak {peak:.0f} MiB",
    )


def time_prediction(model: str, scan: Path, mask: Path, options: list[str]) -> Timing:
    """Run `encephalon predict` as a process of its own and measure it; raises RunError."""
    import os
    import subprocess
    import time

    command = [sys.executable, *PREDICT, model, str(scan), "-o", str(mask)]
    begun = time.perf_counter()
    with subprocess.Popen(
        [*command, "--quiet", *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        words = process.stderr.read().decode(errors="replace") if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode != 0:
        raise RunError(f"The prediction failed, so there is nothing to time: {words.strip()}")
    # Linux counts kibibytes, macOS bytes.
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return Timing(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)
