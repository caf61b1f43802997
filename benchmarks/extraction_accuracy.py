# SPDX-License-Identifier: Apache-2.0
"""How good the brain masks are on real heads: scores where masks exist, pictures for all.

    python benchmarks/extraction_accuracy.py DATA -o OUT

DATA is the folder of development scans, with `heads/openms-patient01` (three contrasts with masks)
and further heads below `heads`. OUT gets `scores/` (the evaluation against the masks) and `masks/`
(every head, with a report to look at). Each scan is told on stderr when it is done.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import encephalon
from encephalon.io.text import write_records
from figures import progress

CONTRASTS = ("T1W", "T2W", "FLAIR")


def main() -> None:
    """Score, predict, and print one line a scan."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="brain-extraction")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    heads = asked.data.resolve() / "heads"
    table = write_table(heads / "openms-patient01", asked.output / "openms.csv")
    where = {"device": "cpu", "threads": asked.threads}
    shared = {"overwrite": True, "progress": progress}
    scores = encephalon.evaluate(asked.model, table, asked.output / "scores", **where, **shared)
    for row in scores.rows:
        print(
            f"{row['id']:<28} Dice {row['dice']:.3f}  HD95 {row['hd95_mm']:.1f} mm  "
            f"{row['seconds']:.1f} s  {row['quality']}"
        )
    model = encephalon.load_model(asked.model, **where)
    result = model.predict_batch(scans_of(heads), asked.output / "masks", **shared)
    for row in result.rows:
        print(
            f"{row['id']:<28} {row.get('volume_ml', 0):.0f} mL  {row.get('seconds', 0):.1f} s  "
            f"{row.get('quality', 'failed')}  {row.get('reasons', '')}"
        )
    print(f"look at {result.report} and {scores.folder / 'report.html'}")


def scans_of(folder: Path) -> list[Path]:
    """The scans in all folders below, without their masks."""
    return sorted(p for p in folder.rglob("*.nii.gz") if "brainmask" not in p.name)


def mask_beside(scan: Path) -> Path:
    """Where the mask of a scan lies, if it has one."""
    return scan.with_name(f"derived_brainmask_{scan.name.removeprefix('study1_')}")


def write_table(folder: Path, table: Path) -> Path:
    """One row a contrast: the scan and its mask, all of the same patient."""
    scans = {name: folder / f"study1_{name}.nii.gz" for name in CONTRASTS}
    rows = [
        {"id": name, "image": scan, "mask": mask_beside(scan), "contrast": name, "group": "01"}
        for name, scan in scans.items()
    ]
    return write_records(rows, table)


if __name__ == "__main__":
    main()
