# SPDX-License-Identifier: Apache-2.0
"""Isotropic T2w files to make thick slices of: which, whose, beside which T1w, and new names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from encephalon.io.bids import BidsFile, parse_name
from encephalon.io.derivatives import derivative_path
from encephalon.io.image import image_stem, image_suffix
from encephalon.tables import Columns, Sample, collect_samples
from encephalon.tables.companions import name_file, put_together

__all__ = ["ScanFile", "find_scans"]

COLUMNS = Columns(
    inputs={"t2w": "t2w", "t1w": "t1w"},
    suffixes={"t2w": ("T2w",), "t1w": ("T1w",)},
    optional=("t1w",),
)


@dataclass(frozen=True)
class ScanFile:
    """One scan, and what its name says.

    `t1w` is the T1w of the same subject and session beside it, `fault` why it is no T2w; `id`
    names it, `group` says whose it is and `bids` has the entities of a BIDS name.
    """

    id: str
    path: Path
    group: str
    t1w: Path | None = None
    bids: BidsFile | None = None
    fault: str = ""

    def path_in(self, folder: Path, label: str) -> Path:
        """Where an image of this scan goes: sub-01/anat/sub-01_acq-<label>_T2w.nii.gz in `folder`.

        Without a BIDS name it is <id>_<label>.nii.gz. `label` has letters and digits alone.
        """
        if self.bids is None:
            return folder / f"{self.id}_{label}.nii.gz"
        entities = dict(self.bids.entities)
        entities["acq"] = entities.get("acq", "") + label
        # Some keep scans of BIDS names outside of anat.
        file = replace(self.bids, path=Path("anat", self.path.name), entities=entities)
        return derivative_path(folder, file, desc="", suffix=file.suffix)


def find_scans(inputs: Sequence[str | os.PathLike[str]]) -> list[ScanFile]:
    """The T2w files that `inputs` mean: image files, folders of them, tables, BIDS datasets.

    A file that is not there, while others are, fails when it is read. Raises MissingFileError for
    an input that is not there, InputError for one without T2w images.
    """
    samples = collect_samples(inputs, COLUMNS, role="t2w", keep_absent=True)
    return [_scan(sample) for sample in samples]


def _scan(sample: Sample) -> ScanFile:
    path = sample.inputs.get("t2w") or next(iter(sample.inputs.values()), Path(sample.id))
    t1w = sample.inputs.get("t1w")
    if t1w is None and sample.bids is None and not sample.row and not sample.fault:
        t1w = _beside(path)
    bids = sample.bids or parse_name(path)
    return ScanFile(sample.id, path, _group(path, bids), t1w, bids, sample.fault)


def _beside(path: Path) -> Path | None:
    """The T1w in the folder of a T2w that belongs to it, if there is exactly one."""
    if not path.is_file():
        return None
    images = [one for one in sorted(path.parent.iterdir()) if image_suffix(one) and one.is_file()]
    together, _ = put_together([name_file(one, COLUMNS) for one in images], COLUMNS)
    return next((one.inputs.get("t1w") for one in together if one.main.path == path), None)


def _group(path: Path, bids: BidsFile | None) -> str:
    """Whose scan it is: the subject, or what the name says beside the kind of image."""
    if bids is not None:
        return f"sub-{bids.entities['sub']}"
    folder, *words = name_file(path, COLUMNS).owner
    return "_".join(word for word in words if word) or Path(folder).name or image_stem(path)
