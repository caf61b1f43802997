# SPDX-License-Identifier: Apache-2.0
"""Whole-process time and memory of brain extraction, against the published U-Net in the same run.

    python benchmarks/extraction.py [--repeat 5] [--threads 2] [--small]

A 256 x 256 x 256 float scan at 1 mm in .nii.gz goes to a mask in .nii.gz, each time in a process
of its own that starts Python, loads the model, predicts and writes. The published weights
are not needed: arithmetic costs the same with random ones of the same layout. Every round runs
both commands, so that the ratio holds when the machine's speed drifts. Each is told on stderr when
it is done. `--small` runs one round of a small scan, to see that everything works: its figures mean
nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from encephalon.cli.demo import Timing, time_prediction
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.synthetic.head import head_phantom
from figures import progress, tell

#: What keeps the published pipeline from making 256³ voxels of a small scan.
SMALL = ("--option", "conform=never", "--block", "64")
#: What a whole process may take, and how many times as long the published one takes: our choice.
WISHES = {"default_seconds": "<= 3", "default_peak_mib": "<= 1536", "times_faster": ">= 15"}


def write_scan(path: Path, small: bool = False) -> None:
    """A head phantom, 256³ float32 at 1 mm, as a scanner's converter would have written it."""
    phantom = head_phantom((64,) * 3, (3.0,) * 3) if small else head_phantom((256, 256, 256))
    data = np.asarray(phantom.image.data, np.float32)
    write_image(data, path, like=Image(data, phantom.image.affine))


def write_published_weights(path: Path) -> None:
    """Random weights in the layout of the published Keras file."""
    import h5py

    from encephalon.networks.keras_unet import keras_unet_shapes

    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        names = []
        for number, arrays in enumerate(keras_unet_shapes()):
            name = f"layer_{number:02d}"
            names.append(name)
            inner = root.create_group(name).create_group(name)
            for key, shape in arrays.items():
                scale = 1 / np.sqrt(max(1, np.prod(shape[:-1])))
                inner[f"{key}:0"] = (scale * rng.standard_normal(shape)).astype(np.float32)
            root[name].attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in arrays]
        root.attrs["layer_names"] = [name.encode() for name in names]


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="brain-extraction")
    parser.add_argument("--small", action="store_true", help="one round, a small scan")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    threads = ["--threads", str(asked.threads)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, weights = folder / "scan.nii.gz", folder / "published.h5"
        write_scan(scan, asked.small)
        write_published_weights(weights)
        ours: list[Timing] = []
        published: list[Timing] = []
        rounds = 1 if asked.small else asked.repeat
        for number in range(rounds):
            # Random weights may leave nothing above the threshold; a low one keeps the mask full.
            options = [*threads, "--threshold", "0.001", *(SMALL if asked.small else ())]
            runs = (
                ("published", str(weights), options, published),
                ("default", asked.model, threads, ours),
            )
            for kind, model, words, found in runs:
                found.append(
                    time_prediction(model, scan, folder / f"{kind}-{number}.nii.gz", words)
                )
                progress(number + 1, rounds, f"{kind} {found[-1].seconds:.1f} s")
    figures = _figures(ours, published)
    tell(figures, WISHES, asked.json)


def _figures(ours: list[Timing], published: list[Timing]) -> dict[str, float]:
    ratios = [old.seconds / new.seconds for old, new in zip(published, ours, strict=True)]
    return {
        "default_seconds": median(one.seconds for one in ours),
        "default_cpu_seconds": median(one.cpu_seconds for one in ours),
        "default_peak_mib": max(one.peak_mib for one in ours),
        "published_seconds": median(one.seconds for one in published),
        "published_peak_mib": max(one.peak_mib for one in published),
        "times_faster": median(ratios),
    }


if __name__ == "__main__":
    main()
