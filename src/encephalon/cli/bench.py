# SPDX-License-Identifier: Apache-2.0
"""`encephalon bench MODEL`: whole processes, as a user starts them."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, table
from encephalon.cli.demo import write_phantom
from encephalon.errors import RunError

PREDICT = ["-m", "encephalon", "predict"]


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
