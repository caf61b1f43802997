# SPDX-License-Identifier: Apache-2.0
"""From label maps and pairs of scans, the table that the shipped isotropic weights learn from.

    python tools/isotropic_table.py LABELMAPS [--pairs PAIRS...] [--maps N] -o table.csv

One row a label map, of which pairs of synthetic contrasts are made: in order of name every seventh
from the fifth on is for validation, every seventh from the second on for testing; the first N of
them, or all. One row a pair of isotropic T1w and T2w, for training. A pair of voxels smaller than
0.9 mm is followed by its copy in voxels of 1 mm, which is written beside the table. PAIRS are
folders with <subject>_T1w.nii.gz and <subject>_T2w.nii.gz,
or _T1 and _T2, or with such folders; T1.nii.gz and T2.nii.gz bear the folder's name.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from encephalon.io.atomic import make_folder
from encephalon.io.reading import read_image, write_image
from encephalon.io.text import write_records
from encephalon.studies.isotropic.simulation import coarser
from label_map_table import EVERY, VALIDATION, label_maps

#: Pairs of voxels below the first are learnt from in voxels of the second, too: mm.
FINE_MM, USUAL_MM = 0.9, 1.0
TEST = 2
#: What the id of such a copy ends in.
COARSE = "-1mm"
HEADER = ("id", "t2w", "t1w", "labels", "group", "split")


def main() -> None:
    """Read the arguments, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=Path, nargs="+", default=[])
    parser.add_argument("--maps", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    beside = make_folder(asked.output.parent)
    rows = []
    for number, name, path in islice(label_maps(asked.folder), asked.maps):
        split = {VALIDATION: "validation", TEST: "test"}.get(number % EVERY, "train")
        rows.append((name, "", "", os.path.relpath(path, beside), name, split))
    for name, *scans in all_scans(asked.pairs, beside):
        places = (os.path.relpath(path, beside) for path in scans)
        rows.append((name, *places, "", name.removesuffix(COARSE), "train"))
    write_records([dict(zip(HEADER, row, strict=True)) for row in rows], asked.output)


def all_scans(folders: list[Path], copies: Path) -> Iterator[tuple[str, Path, Path]]:
    """Id, T2w and T1w of every pair in `folders`, and of its copy of 1 mm voxels in `copies`."""
    for folder in folders:
        for name, *pair in find_pairs(folder):
            yield name, pair[0], pair[1]
            scans = [read_image(path) for path in pair]
            if max(scans[0].spacing) < FINE_MM:
                written = [copies / f"{name}{COARSE}_{suffix}.nii.gz" for suffix in ("T2w", "T1w")]
                for path, scan in zip(written, scans, strict=True):
                    if not path.exists():
                        copy = coarser(scan, USUAL_MM)
                        write_image(copy.data, path, like=copy)
                yield f"{name}{COARSE}", written[0], written[1]


def find_pairs(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Subject, T2w and T1w of every pair in `folder` and its folders, in order of name."""
    for t2w in sorted([*folder.glob("*T2*.nii.gz"), *folder.glob("*/*T2*.nii.gz")]):
        t1w = t2w.with_name(t2w.name.replace("T2", "T1"))
        if t1w.exists():
            yield t2w.name.split("T2")[0].rstrip("_") or t2w.parent.name, t2w, t1w


if __name__ == "__main__":
    main()
