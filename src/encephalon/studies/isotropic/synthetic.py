# SPDX-License-Identifier: Apache-2.0
"""Two scans of a head that is nobody's, T1w and isotropic T2w, and a small dataset of such heads.

For trials, tests and pages: the heads look like heads and are none, so that they show that
everything works, and never how well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine
from encephalon.io.atomic import refuse_existing, write_json, write_text
from encephalon.io.bids import BIDS_VERSION, generated_by, write_dataset_description, write_ignored
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.io.text import csv_text
from encephalon.studies.isotropic.reconstruction.problem import VOXEL_AXES, slice_axis
from encephalon.studies.isotropic.simulate import COLUMNS, TABLE
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_slices
from encephalon.synthetic.head import CENTRE, head_phantom

Progress = Callable[[int, int, str], None]
Shape = tuple[int, int, int]

#: Size of the heads: those of newborns measure about 0.7 of an adult's, and small ones are quick.
SIZE = 0.72
SHAPE: Shape = (128, 160, 128)
#: Where its middle lies, mm from that of the field of view: the neck may be cut off, the brain not.
LOWERED = (0.0, 0.0, -18.0)
#: Standard deviation of how a head moves between two scans: mm, and degrees about each axis.
SHIFT, TURN = 2.5, 2.5
#: Noise of the thick slices, as a share of bright tissue, and of the T1w, of white matter.
NOISE = 0.02
#: What describes a dataset and its derivatives.
DESCRIPTION = "dataset_description.json"
ABOUT = (DESCRIPTION, f"derivatives/truth/{DESCRIPTION}", "README", "participants.tsv")

README = """Synthetic heads, made by `encephalon simulate phantoms`; no person was scanned.

Each subject has a T1w and a T2w of thick slices, between which the head moved. The isotropic T2w
that the slices were made of is in derivatives/truth, with the movement in its JSON: TrueMotion maps
the world of the T2w to that of the T1w, RAS+ mm. table.csv names all of them.
"""


@dataclass(frozen=True, eq=False)
class HeadPair:
    """Two scans of one head.

    t2w, t1w      The scans, float32; the T2w is isotropic.
    mask, labels  Of the T2w's voxels, uint8: 1 in the brain, and the `Tissue` they hold.
    motion        Maps where tissue lies in the T2w's world to where it lies in the T1w's, RAS+ mm.
    """

    t2w: Image
    t1w: Image
    mask: NDArray[np.uint8] = field(repr=False)
    labels: NDArray[np.uint8] = field(repr=False)
    motion: Affine


def head_pair(
    shape: Sequence[int] = SHAPE,
    spacing: float = 1.0,
    *,
    codes: str = "RAS",
    t1w_shape: Sequence[int] | None = None,
    t1w_spacing: Sequence[float] | None = None,
    t1w_codes: str = "LIA",
    motion: Affine | None = None,
    infant: bool = False,
    seed: int = 0,
    noise: float = NOISE,
    detail: float = 1.25,
) -> HeadPair:
    """Scan a small head twice: an isotropic T2w, and a T1w after the head moved by `motion`.

    `shape` and `spacing` (mm) are those of the T2w, along right, anterior and superior; those of
    the T1w are the same unless given, and the codes turn the voxel axes of either. With the same
    codes too, and without a motion, both lie on the same voxels. `infant` gives T1w and T2w the
    contrasts of the first half year. `noise` is that of the T1w alone: the T2w is the truth.
    `detail` is that of `head_phantom`, which also says what is raised.
    """
    moved = Affine(np.eye(4)) if motion is None else motion
    # Of another size, and lower in the field of view.
    pose = _about_centre(np.eye(3) * SIZE, np.asarray(LOWERED))
    kind = "infant-" if infant else ""
    t2w = head_phantom(
        shape, (spacing,) * 3, codes=codes, contrast=f"{kind}t2", seed=seed, noise=0.0,
        detail=detail, pose=pose, take=2,
    )  # fmt: skip
    t1w = head_phantom(
        t1w_shape or shape, t1w_spacing or (spacing,) * 3, codes=t1w_codes, contrast=f"{kind}t1",
        seed=seed, noise=noise, detail=detail, pose=moved @ pose,
    )  # fmt: skip
    return HeadPair(t2w.image, t1w.image, t2w.mask, t2w.labels, moved)


def draw_motion(rng: np.random.Generator, shift: float = SHIFT, turn: float = TURN) -> Affine:
    """A rigid motion about the middle of the head, of normal shifts (mm) and turns (degrees)."""
    from scipy.spatial.transform import Rotation

    turned = Rotation.from_euler("xyz", rng.normal(0, turn, 3), degrees=True).as_matrix()
    return _about_centre(turned, rng.normal(0, shift, 3))


def write_heads(
    folder: Path,
    *,
    subjects: int = 2,
    infants: bool = False,
    axis: str = "axial",
    thickness: float = 4.0,
    shape: Sequence[int] = SHAPE,
    spacing: float = 1.0,
    detail: float = 1.25,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a BIDS dataset of `subjects` heads, each with a T1w, a thick T2w and its truth.

    The truth is a derivative; table.csv, whose path is returned, names all three. `progress` is
    told after each head how many are done. Raises OutputExistsError where one of the dataset's
    files is there, before any is written, unless `overwrite`; UsageError and GeometryError for
    slices that cannot be.
    """
    table = folder / TABLE
    names = [f"sub-{number:02d}" for number in range(1, subjects + 1)]
    planned = [path for name in names for path in _places(name).values()]
    for path in (Path(TABLE), *map(Path, ABOUT), *planned):
        refuse_existing(folder / path, overwrite)
    rows = []
    for number, name in enumerate(names, start=1):
        motion = draw_motion(np.random.default_rng([seed, number]))
        pair = head_pair(
            shape, spacing, motion=motion, infant=infants, seed=seed + number - 1, detail=detail
        )
        rows.append(_write_head(folder, name, pair, axis, thickness, overwrite))
        if progress is not None:
            progress(number, subjects, name)
    _describe(folder, names, infants)
    return write_text(table, csv_text(rows, COLUMNS))


def _about_centre(matrix: NDArray[np.float64], shift: NDArray[np.float64]) -> Affine:
    centre = np.asarray(CENTRE)
    result = np.eye(4)
    result[:3, :3] = matrix
    result[:3, 3] = centre - matrix @ centre + shift
    return Affine(result)


def _write_head(
    folder: Path, name: str, pair: HeadPair, axis: str, thickness: float, overwrite: bool
) -> dict[str, object]:
    """Write one subject; returns its row of the table."""
    places = _places(name)
    to = {role: folder / path for role, path in places.items()}
    scan = replace(pair.t2w, source=Path("the phantom"))
    thick = simulate_slices(scan, SliceSettings(axis, thickness, noise=NOISE))
    sizes = {"SliceThickness": thickness, "SpacingBetweenSlices": thickness}
    across = VOXEL_AXES[slice_axis(thick.affine, axis)]
    write_image(scan.data, to["reference"], scan, overwrite)
    write_json(to["motion"], {"TrueMotion": pair.motion.matrix, "SkullStripped": False})
    write_image(pair.t1w.data, to["t1w"], pair.t1w, overwrite)
    write_image(thick.data, to["t2w"], thick, overwrite)
    write_json(to["sidecar"], {**sizes, "SliceEncodingDirection": across})
    cells = {role: places[role].as_posix() for role in ("t2w", "reference", "t1w")}
    return {"id": name, **cells, "axis": axis, "thickness": thickness, "group": name}


def _places(name: str) -> dict[str, Path]:
    """The files of one subject, in the folder of the dataset, by what they are."""
    anat, truths = Path(name, "anat"), Path("derivatives", "truth", name, "anat")
    return {
        "t2w": anat / f"{name}_T2w.nii.gz",
        "sidecar": anat / f"{name}_T2w.json",
        "t1w": anat / f"{name}_T1w.nii.gz",
        "reference": truths / f"{name}_desc-isotropic_T2w.nii.gz",
        "motion": truths / f"{name}_desc-isotropic_T2w.json",
    }


def _describe(folder: Path, names: Sequence[str], infants: bool) -> None:
    """The files at the root of a dataset, and of its derivatives."""
    by = generated_by()
    description = {
        "Name": "Synthetic heads",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": by,
    }
    write_json(folder / DESCRIPTION, description)
    write_ignored(folder)
    write_dataset_description(folder / "derivatives" / "truth", "Truth of synthetic heads", by)
    write_text(folder / "README", README)
    kind = "infant" if infants else "adult"
    lines = ["participant_id\tcontrast", *(f"{name}\t{kind}" for name in names)]
    write_text(folder / "participants.tsv", "\n".join(lines) + "\n")
