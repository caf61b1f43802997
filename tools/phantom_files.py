# SPDX-License-Identifier: Apache-2.0
"""What the pages take for granted, as small phantoms: scans, studies, tables, folders of data.

Each name is one that a page uses, so that its commands run as they stand.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from encephalon.io.reading import write_image
from encephalon.studies.isotropic.synthetic import head_pair, write_heads
from encephalon.studies.micrographs.synthetic import write_phantoms
from encephalon.synthetic.head import head_phantom

__all__ = ["lay_out"]

#: Heads small enough to be masked in a second: voxels along each axis, mm, mm of anatomical detail.
SHAPE, SPACING, DETAIL = (56, 64, 56), 3.0, 3.0
PAIR = {"shape": (60, 72, 60), "spacing": 2.0, "detail": 2.0}
CONTRASTS = {"T1W": "t1", "T2W": "t2", "FLAIR": "flair"}
PARTS = ("train", "validation", "test", "test")


def lay_out(folder: Path) -> None:
    """Write everything into an empty folder."""
    for take, name in enumerate(("scan", "first", "second", "scans/a", "scans/b")):
        write_head(folder / f"{name}.nii.gz", take)
    write_heads_table(folder)
    write_heads(folder / "study", subjects=2, **PAIR)  # type: ignore[arg-type]
    for name in ("T1w", "T2w"):
        shutil.copy(folder / f"study/sub-01/anat/sub-01_{name}.nii.gz", folder / f"{name}.nii.gz")
    write_pairs(folder)
    write_benchmark_data(folder)
    write_micrographs(folder)


def write_head(scan: Path, take: int, mask: Path | None = None, contrast: str = "t1") -> None:
    """Write another scan of the one head, and its brain mask where it is asked for."""
    head = head_phantom(SHAPE, (SPACING,) * 3, contrast=contrast, detail=DETAIL, take=take)
    write_image(head.image.data, scan, head.image)
    if mask is not None:
        write_image(head.mask, mask, head.image)


def write_heads_table(folder: Path) -> None:
    """heads.csv: six persons with scan and mask, and a seventh with a label map alone."""
    rows = []
    for number in range(6):
        scan, mask = f"heads/{number}.nii.gz", f"masks-by-hand/{number}.nii.gz"
        write_head(folder / scan, number, folder / mask)
        rows.append({"id": f"h{number}", "image": scan, "labels": mask, "group": f"p{number}"})
    head = head_phantom(PAIR["shape"], (2.0,) * 3, detail=2.0)  # type: ignore[arg-type]
    write_image(head.labels, folder / "LABELMAPS/0.nii.gz", head.image)
    rows.append({"id": "map", "image": "", "labels": "LABELMAPS/0.nii.gz", "group": "p6"})
    write_rows(folder / "heads.csv", rows)


def write_pairs(folder: Path) -> None:
    """pairs.csv: four heads with an isotropic T2w and a T1w on its voxels, which PAIRS holds."""
    rows = []
    for seed, part in enumerate(PARTS):
        # Two heads, whose making is what takes long, in two contrasts.
        infant = seed > 1
        pair = head_pair(**PAIR, t1w_codes="RAS", seed=seed % 2, infant=infant)  # type: ignore[arg-type]
        for name, image in (("T2", pair.t2w), ("T1", pair.t1w)):
            write_image(image.data, folder / f"PAIRS/s{seed}/{name}.nii.gz", image)
        places = {"t2w": f"PAIRS/s{seed}/T2.nii.gz", "t1w": f"PAIRS/s{seed}/T1.nii.gz"}
        rows.append({"id": f"s{seed}", **places, "group": f"s{seed}", "split": part})
    write_rows(folder / "pairs.csv", rows)


def write_benchmark_data(folder: Path) -> None:
    """DATA: scans of one head in three contrasts with masks; LABELMAPS: seven maps in all."""
    heads = folder / "DATA/heads/openms-patient01"
    for name, contrast in CONTRASTS.items():
        mask = heads / f"derived_brainmask_{name}.nii.gz"
        write_head(heads / f"study1_{name}.nii.gz", 0, mask, contrast)
    for number in range(1, 7):
        shutil.copy(folder / "LABELMAPS/0.nii.gz", folder / f"LABELMAPS/{number}.nii.gz")


def write_micrographs(folder: Path) -> None:
    """micrographs/ and its sheet study.csv; new.csv and images.csv are tables of such images."""
    sheet = write_phantoms(folder / "micrographs", animals=10, images=2, size=64)
    with sheet.open(encoding="utf-8", newline="") as stream:
        rows = [
            {name.lower(): cell for name, cell in row.items()} for row in csv.DictReader(stream)
        ]
    names = ("class", "sex", "region", "animal")
    told = [{"Image ID": row["image id"]} | {name: row[name] for name in names} for row in rows]
    write_rows(folder / "study.csv", told)
    places = [
        {"id": row["image id"], "image": f"micrographs/{row['image id']}_phantom.tif"}
        | {name: row[name] for name in names}
        for row in rows
    ]
    for name in ("new.csv", "images.csv"):
        write_rows(folder / name, places)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table of rows with the same columns."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
