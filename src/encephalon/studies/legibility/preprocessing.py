# SPDX-License-Identifier: Apache-2.0
"""Scans as the networks see them: the brain alone, in MNI space, its grey levels comparable.

The brain is what our own extraction finds, unless the skull was taken away before. Its levels are
clamped, it is brought to the template by an affine map, and averaged into the voxels of a cube of
224 mm. All else is -1, which no tissue is: what is darkest of a brain lies two or three standard
deviations below its mean, and -1 is four.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, InputError
from encephalon.geometry.affine import bounding_box
from encephalon.geometry.resample import averaged, resample_averaged
from encephalon.inference.workers import Workers
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.studies.legibility.settings import Cohort
from encephalon.studies.registry import open_predictor
from encephalon.training.dataset import Prepared, prepare_each
from encephalon.transforms.conform import straightened
from encephalon.transforms.masks import fill_holes, near, require_head_size
from encephalon.transforms.template import place_brain

__all__ = [
    "ImageRow",
    "Scan",
    "brain_scores",
    "is_prepared",
    "prepare_image",
    "prepare_images",
    "prepare_scans",
]

#: How images are prepared; another number prepares them anew.
PREPARATION = "mni-1"
#: The model that finds brains.
EXTRACTION = "brain-extraction"
#: Percentiles of the brain beyond which levels are clamped: those that the published study clamps
#: its targets at; of its images they are not known.
CLAMP = (0.5, 99.5)
#: Standard deviations from the mean of the brain that become -1 and 1.
DEVIATIONS = 4.0
#: A scan is of a brain alone where at least this share of its voxels is the same background ...
BACKGROUND = 0.2
#: ... and at most this share of the others lies further from the brain than BESIDE mm: it was 0 of
#: brains, and 0.3 to 0.8 of heads, those whose air is exactly 0 among them.
ELSEWHERE, BESIDE = 0.1, 8.0
#: Points that are averaged into a voxel are at most this far apart, mm.
STEP = 1.0
#: The suffix of what is prepared.
PREPARED = ".npy"
#: Sources that the other scans of a person are brought to MNI space by, if they are not of T1w.
REFERENCES = ("t1", "t1w")

Contents = Literal["auto", "head", "brain"]
Mask = NDArray[np.bool_]
Scan = Prepared | InputError | None


@dataclass(frozen=True)
class ImageRow:
    """One scan of one person.

    path       of the scan: NIfTI, MGZ, DICOM
    contents   what it shows, see `Source.contents`
    reference  another scan of the same person and day, whose place in MNI space it is given: a T1w
               scan is brought there best; it is brought there on its own if None
    reference_contents
               what that shows
    """

    path: Path
    contents: Contents = "auto"
    reference: Path | None = None
    reference_contents: Contents = "auto"

    @property
    def files(self) -> list[Path]:
        """All that the prepared scan depends on."""
        return [self.path] if self.reference is None else [self.path, self.reference]


def prepare_scans(
    cohort: Cohort,
    files: Mapping[str, Sequence[Path | None]],
    cache: Path,
    side: int,
    **how: Any,
) -> dict[str, list[Scan]]:
    """Of each source of images, for each person: the prepared file, why there is none, or None.

    files  by source, the scan of each person; a .npy file is prepared already, and has no notes
    how    workers and progress, see `prepare_images`

    A scan is brought to MNI space by the T1w scan of the person, where there is one.
    """
    best = next((name for name in files if name.lower() in REFERENCES), None)
    found: dict[str, list[Scan]] = {name: [None] * len(some) for name, some in files.items()}
    rows: dict[tuple[str, int], ImageRow] = {}
    for name, some in files.items():
        for person, path in enumerate(some):
            if path is not None and is_prepared(path):
                found[name][person] = Prepared(path, {})
            elif path is not None:
                first = files[best][person] if best is not None and best != name else None
                first = first if first is None or not is_prepared(first) else None
                said = "auto" if best is None else cohort.sources[best].contents
                rows[name, person] = ImageRow(path, cohort.sources[name].contents, first, said)
    made = prepare_images(list(rows.values()), cache, side, **how) if rows else ()
    for (name, person), one in zip(rows, made, strict=True):
        found[name][person] = one
    return found


def is_prepared(path: Path) -> bool:
    """Whether a scan was prepared before."""
    return path.suffix.lower() == PREPARED


def prepare_images(
    rows: Sequence[ImageRow],
    cache: Path,
    side: int = 64,
    *,
    workers: Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Prepared | InputError]:
    """Of each row, in order, the .npy file in `cache` with its facts, or why there is none.

    The files and facts are those of `prepare_image`. What is in the cache is not made again, by the
    bytes of the scans, so that a run that was killed goes on; it is made by `workers`, in two
    processes if they are not given.
    """
    keep, version = partial(_keep, side), partial(_version, side)
    return prepare_each(rows, keep, cache, version, PREPARED, workers, progress)


def _version(side: int, row: ImageRow) -> str:
    return f"{PREPARATION}-{side}-{row.contents}-{row.reference_contents}"


def _keep(side: int, row: ImageRow, path: Path) -> dict[str, Any]:
    voxels, facts = prepare_image(row, side)
    with path.open("wb") as stream:
        np.save(stream, voxels)
    return facts


def prepare_image(
    row: ImageRow, side: int = 64, threads: int = 1
) -> tuple[NDArray[np.float16], dict[str, Any]]:
    """The brain of a scan in MNI space (side, side, side), RAS, in [-1, 1], and facts about it.

    side     voxels along each edge of the cube of 224 mm: 128, or 64, 32, 16 averaged from these
    threads  of which no result depends on

    A voxel is a z-score in the brain, over four. The facts: `brain_ml`, the volume of its mask;
    `contents` as they were found; `quality` "ok" or "check", and `reasons`; and `scale`, `matrix`,
    `information` and `overlap`, see `Placement`.

    Raises InputError naming the file for what cannot be read, or shows no brain.
    """
    brain = _brain(read_image(row.path), row.contents, threads)
    guide = None
    if row.reference is not None:
        guide = _brain(read_image(row.reference), row.reference_contents, threads).levels
    placed = place_brain(brain.levels, brain.mask, guide, threads)
    reasons = [*brain.doubts, *placed.doubts]
    facts = {
        "brain_ml": round(np.count_nonzero(brain.mask) * brain.levels.volume_ml_per_voxel, 1),
        "scale": placed.scale,
        "matrix": np.round(placed.matrix.matrix, 6).tolist(),
        "information": placed.information,
        "overlap": placed.overlap,
        "contents": brain.contents,
        "quality": "check" if reasons else "ok",
        "reasons": reasons,
    }
    scores = brain_scores(brain.levels.data, brain.mask)
    voxels = resample_averaged(scores, brain.levels.affine, placed.grid, STEP, -1.0)
    return averaged(voxels, (side, side, side)).astype(np.float16), facts


@dataclass(frozen=True)
class _Brain:
    """A scan without all that is not brain.

    levels    its clamped levels in [0, 1], 0 outside, float32
    mask      where it is
    contents  what the scan showed
    doubts    of the scan and of the mask
    """

    levels: Image
    mask: Mask
    contents: Contents
    doubts: tuple[str, ...]


def brain_scores(levels: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """The z-scores of levels in a brain over DEVIATIONS, in [-1, 1], and -1 outside (I, J, K)."""
    inside, scores = levels[mask], np.full(mask.shape, -1, levels.dtype)
    scores[mask] = ((inside - inside.mean()) / (DEVIATIONS * inside.std())).clip(-1, 1)
    return scores


def _brain(scan: Image, contents: Contents, threads: int) -> _Brain:
    scan = straightened(require_head_size(scan))
    mask, shown, doubts = _masked(scan, contents, threads)
    inside = scan.data[mask].astype(np.float32)
    low, high = np.percentile(inside, CLAMP) if inside.size else (0.0, 0.0)
    if not high > low:
        raise ContentError(
            f"{scan.name}: expected the scan of a brain, but no brain was found in it: leave it "
            "out, or give one."
        )
    box = bounding_box(mask, margin=2)
    mask, affine = mask[box], scan.affine.shifted([part.start for part in box])
    levels = np.clip((scan.data[box].astype(np.float32) - low) / (high - low), 0, 1) * mask
    image = Image(levels.astype(np.float32), affine, scan.source)
    return _Brain(image, mask, shown, (*scan.doubts, *doubts))


def _masked(scan: Image, contents: Contents, threads: int) -> tuple[Mask, Contents, Sequence[str]]:
    """Where the brain is, what the scan shows, and what puts either in doubt."""
    stripped, share = _without_background(scan.data)
    if contents == "brain":
        return stripped, "brain", ()
    predicted = _extraction(threads).predict(scan)
    mask: Mask = predicted.images["mask"].data > 0
    if contents == "auto" and share >= BACKGROUND and mask.any():
        elsewhere = stripped & ~near(mask, scan.affine, BESIDE)
        if np.count_nonzero(elsewhere) <= ELSEWHERE * np.count_nonzero(stripped):
            return stripped, "brain", ()
    quality = predicted.quality
    if quality is not None and quality.status == "fail":
        raise ContentError(
            f"{scan.name}: expected the scan of a brain, but {'; '.join(quality.reasons)}: leave "
            'it out, or say contents = "brain" if its skull was taken away.'
        )
    return mask, "head", () if quality is None else quality.reasons


def _without_background(data: NDArray[Any]) -> tuple[Mask, float]:
    """What is not of the most frequent value, without holes, and the share that is."""
    values, counts = np.unique(data, return_counts=True)
    other = data != values[counts.argmax()]
    return fill_holes(other), float(1 - other.mean())


@lru_cache(maxsize=1)
def _extraction(threads: int) -> Any:
    return open_predictor(EXTRACTION, threads)
