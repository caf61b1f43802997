# SPDX-License-Identifier: Apache-2.0
"""Whole-process time and memory of an isotropic T2w, against the published network in the same run.

    python benchmarks/isotropic.py [--repeat 3] [--threads 2] [--patches 8] [--small]

A thick-slice T2w (four voxels a slice) and a T1w of 182 x 218 x 182 voxels go to an isotropic T2w
of that size, each time in a process of its own that starts Python, registers the T1w, predicts and
writes. Beside it, in a process of its own as well, the published network (379,053,826 parameters,
random weights: arithmetic costs the same) answers some of the 1,573 patches of 32³ that a volume of
that size has, one by one as published; its time for a volume is that of these patches times
1,573 over their number. Reading, registration and its loading are left out, in its favour. Each is
told on stderr when it is done. `--small` runs one round of a small head, to see that everything
works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from encephalon.cli.demo import Timing, time_prediction
from encephalon.io.reading import write_image
from figures import progress, tell

SHAPE = (182, 218, 182)
#: Patches of a volume of that shape, as BABY-AI cuts them.
PATCHES, EDGE = 1573, 32
#: What a whole process may take, and how many times as long the published one takes: our choice.
WISHES = {
    "default_seconds": "<= 60",
    "default_peak_mib": "<= 3072",
    "published_patches_timed": f"of {PATCHES}",
    "times_faster": ">= 10",
}
SPACING, THICKNESS = 0.75, 3.0
ANSWER = "seconds-of-a-patch:"


def write_scans(folder: Path, small: bool = False) -> tuple[Path, Path]:
    """A synthetic head as a thick-slice T2w, and its T1w after the head moved a little."""
    from encephalon.studies.isotropic.simulation import SliceSettings, simulate_slices
    from encephalon.studies.isotropic.synthetic import draw_motion, head_pair

    # Voxels of three quarters of a millimetre, so that the small head fills the volume.
    size = ((46, 54, 46), 3.0) if small else (SHAPE, SPACING)
    pair = head_pair(*size, motion=draw_motion(np.random.default_rng(0)))
    thick = simulate_slices(pair.t2w, SliceSettings("axial", THICKNESS * (2 if small else 1)))
    t2w, t1w = folder / "T2w.nii.gz", folder / "T1w.nii.gz"
    write_image(thick.data, t2w, like=thick)
    write_image(pair.t1w.data, t1w, like=pair.t1w)
    return t2w, t1w


def time_patches(count: int, threads: int) -> None:
    """Answer `count` patches with the published network, after one to warm up; print seconds."""
    import torch

    from encephalon.networks.published_reconstruction import PublishedReconstruction
    from encephalon.studies.isotropic.published.preprocessing import patch_starts, predict_patches

    torch.set_num_threads(threads)
    network = PublishedReconstruction().eval()

    def answer(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(batch)).numpy())

    volume = np.random.default_rng(0).random((2, 192, 224, 192), dtype=np.float32)
    starts = patch_starts(volume.shape[1:], EDGE, EDGE // 2)
    predict_patches(volume, answer, starts[:1])
    begun = time.perf_counter()
    predict_patches(volume, answer, starts[1 : count + 1])
    print(ANSWER, (time.perf_counter() - begun) / count)


def time_published(count: int, threads: int) -> Timing:
    """`time_patches` in a process of its own, extrapolated to a volume."""
    command = [sys.executable, __file__, "--published", str(count), "--threads", str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        words = process.stdout.read().decode() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit("The published network failed, so there is nothing to compare with.")
    seconds = PATCHES * float(words.split(ANSWER)[1])
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return Timing(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patches", type=int, default=8)
    parser.add_argument("--model", default="isotropic")
    parser.add_argument("--small", action="store_true", help="one round, a small head")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--published", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.published:
        time_patches(asked.published, asked.threads)
        return
    ours: list[Timing] = []
    published: list[Timing] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        t2w, t1w = write_scans(folder, asked.small)
        rounds, patches = (1, 1) if asked.small else (asked.repeat, asked.patches)
        options = ["--t1w", str(t1w), "--threads", str(asked.threads)]
        for number in range(1, rounds + 1):
            published.append(time_published(patches, asked.threads))
            progress(number, rounds, f"published {published[-1].seconds:.1f} s")
            target = folder / f"isotropic-{number}"
            ours.append(time_prediction(asked.model, t2w, target, options))
            progress(number, rounds, f"ours {ours[-1].seconds:.1f} s")
    figures = _figures(ours, published, patches)
    tell(figures, WISHES, asked.json)


def _figures(ours: list[Timing], published: list[Timing], patches: int) -> dict[str, float]:
    ratios = [old.seconds / new.seconds for old, new in zip(published, ours, strict=True)]
    return {
        "default_seconds": median(one.seconds for one in ours),
        "default_cpu_seconds": median(one.cpu_seconds for one in ours),
        "default_peak_mib": max(one.peak_mib for one in ours),
        "published_seconds": median(one.seconds for one in published),
        "published_patches_timed": patches,
        "published_peak_mib": max(one.peak_mib for one in published),
        "times_faster": median(ratios),
    }


if __name__ == "__main__":
    main()
