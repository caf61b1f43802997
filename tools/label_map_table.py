# SPDX-License-Identifier: Apache-2.0
"""From a folder of label maps, the table that the shipped weights were trained with.

    python tools/label_map_table.py LABELMAPS -o table.csv

One row a map and no scans: heads are synthesised. Of the maps in order of name, every seventh from
the fifth on is for validation.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from encephalon.io.text import write_records

EVERY, VALIDATION = 7, 5


def main() -> None:
    """Read the arguments, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    write_records(
        [
            {
                "id": name,
                "image": "",
                "labels": os.path.relpath(path, asked.output.parent),
                "group": name,
                "split": "validation" if number % EVERY == VALIDATION else "train",
            }
            for number, name, path in label_maps(asked.folder)
        ],
        asked.output,
    )


def label_maps(folder: Path) -> Iterator[tuple[int, str, Path]]:
    """Number from 1 on, name and path of each label map of a folder, in order of name."""
    maps = sorted(folder.glob("*.nii.gz"))
    if not maps:
        sys.exit(f"{folder} holds no label map (*.nii.gz): name the folder that does.")
    for number, path in enumerate(maps, start=1):
        yield number, path.name.removesuffix(".nii.gz"), path


if __name__ == "__main__":
    main()
