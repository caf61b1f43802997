# SPDX-License-Identifier: Apache-2.0
"""From label maps and pairs of scans, the table that the shipped isotropic weights learn from.

    python tools/isotropic_table.py LABELMAPS [--pairs PAIRS] [--leave-out SUBJECT] -o table.csv

One row a label map, of which pairs of synthetic contrasts are made: in order of name every seventh
from the fifth on is for validation, every seventh from the second on for testing. One row a pair of
isotropic T1w and T2w, for training, but for those of the subject that is left out, which are for
testing. PAIRS is a folder of folders that hold <subject>_T1.nii.gz and <subject>_T2.nii.gz, or
T1.nii.gz and T2.nii.gz of one subject, who then bears the folder's name.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator
from pathlib import Path

EVERY, VALIDATION, TEST = 7, 5, 2
HEADER = ("id", "t2w", "t1w", "labels", "group", "split")


def main() -> None:
    """Read the arguments, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--leave-out", default="")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    maps = sorted(asked.folder.glob("*.nii.gz"))
    if not maps:
        parser.error(f"{asked.folder} holds no label map (*.nii.gz): name the folder that does.")
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    with asked.output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEADER)
        for number, path in enumerate(maps, start=1):
            place, name = os.path.relpath(path, asked.output.parent), path.name.split(".")[0]
            split = {VALIDATION: "validation", TEST: "test"}.get(number % EVERY, "train")
            writer.writerow([name, "", "", place, name, split])
        for name, t2w, t1w in find_pairs(asked.pairs) if asked.pairs else ():
            places = (os.path.relpath(path, asked.output.parent) for path in (t2w, t1w))
            writer.writerow(
                [name, *places, "", name, "test" if name == asked.leave_out else "train"]
            )


def find_pairs(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Subject, T2w and T1w of every pair in the folders of `folder`, in order of name."""
    for t2w in sorted(folder.glob("*/*T2.nii.gz")):
        t1w = t2w.with_name(t2w.name.replace("T2.nii.gz", "T1.nii.gz"))
        if t1w.exists():
            yield t2w.name.removesuffix("T2.nii.gz").rstrip("_") or t2w.parent.name, t2w, t1w


if __name__ == "__main__":
    main()
