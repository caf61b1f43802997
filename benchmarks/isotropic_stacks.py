# SPDX-License-Identifier: Apache-2.0
"""What a second and a third stack of slices, in other planes, add to a reconstruction.

    python benchmarks/isotropic_stacks.py DATA... [--mm 4]

DATA are isotropic T2w as in `isotropic_infants.py`. Each is cut into axial slices, and once more
into coronal and into sagittal ones. The axial stack is reconstructed by the guided method, with the
T1w and without; told is the PSNR in the foreground, dB, and what further stacks, fused with the
first as `encephalon isotropic --stack` fuses them, add to it. No motion lies between these stacks,
so that this is what they can give at the best.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from encephalon.metrics.image_quality import foreground
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.multi_stack import fuse_stacks
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_problem, simulate_stack
from figures import progress
from isotropic_doubts import AXES, Head, t2w_scans
from isotropic_infants import psnr


def main() -> None:
    """Print a row a head and condition."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--mm", type=float, default=4.0, help="thickness of the slices")
    asked = parser.parse_args()
    heads = [Head(path, 1) for place in asked.data for path in t2w_scans(place)]
    if not heads:
        parser.error(f"{asked.data[0]}: no T2w has a T1w beside it: name a folder with both.")
    rows = []
    for number, head in enumerate(heads, start=1):
        for condition in ("yes", "no"):
            one, *more = scored(head, condition == "yes", asked.mm)
            cells = [f"{one:.1f}", *(f"{each - one:.1f}" for each in more)]
            rows.append(f"| {head.name} | {condition} | {' | '.join(cells)} |")
        progress(number, len(heads), head.name)
    print("| Head | T1w | One stack, dB | A second adds | Three add |")
    print("|---|---|---|---|---|", *rows, sep="\n")


def scored(head: Head, with_t1w: bool, mm: float) -> Iterator[float]:
    """PSNR of one stack, of two and of three, dB."""
    t1w, t2w = head.scans
    problem, truth = simulate_problem(t2w, t1w if with_t1w else None, SliceSettings(AXES[0], mm))
    further = tuple(simulate_stack(t2w, SliceSettings(axis, mm))[0] for axis in AXES[1:])
    first, inside = guided(problem), foreground(truth)
    for count in range(len(AXES)):
        stacks = (problem.stack, *further[:count])
        yield psnr(truth, fuse_stacks(replace(problem, stacks=stacks), first).image, inside)


if __name__ == "__main__":
    main()
