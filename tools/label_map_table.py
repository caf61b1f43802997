# SPDX-License-Identifier: Apache-2.0
"""From a folder of label maps, the table that the shipped weights were trained with.

    python tools/label_map_table.py LABELMAPS -o table.csv

One row a map and no scans: heads are synthesised. Of the maps in order of name, every seventh from
the fifth on is for validation.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

EVERY, FIRST = 7, 5


def main() -> None:
    """Read the arguments, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    maps = sorted(asked.folder.glob("*.nii.gz"))
    if not maps:
        parser.error(f"{asked.folder} holds no label map (*.nii.gz): name the folder that does.")
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    with asked.output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", "image", "labels", "group", "split"])
        for number, path in enumerate(maps, start=1):
            name = path.name.removesuffix(".nii.gz")
            place = os.path.relpath(path, asked.output.parent)
            split = "validation" if number % EVERY == FIRST else "train"
            writer.writerow([name, "", place, name, split])


if __name__ == "__main__":
    main()
