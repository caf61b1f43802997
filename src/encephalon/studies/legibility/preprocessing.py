# SPDX-License-Identifier: Apache-2.0
"""One scan as the networks see it: the brain alone, in MNI space, its grey levels comparable.

The brain is what our own extraction finds, unless the skull was taken away before. Its levels are
clamped, it is brought to the template by an affine map, and averaged into the voxels of a cube of
224 mm. All else is -1, which no tissue is: what is darkest of a brain lies two or three standard
deviations below its mean, and -1 is four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, InputError
from encephalon.geometry.affine import Grid, bounding_box
from encephalon.geometry.resample import averaged, resample, resample_averaged
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.studies.registry import open_predictor
from encephalon.training.dataset import Prepared, prepare_each
from encephalon.transforms.conform import straightened
from encephalon.transforms.masks import fill_holes, near, require_head_size
from encephalon.transforms.registration import register_affine, register_rigid
from encephalon.transforms.template import brain_template, mni_grid

__all__ = ["ImageRow", "prepare_image", "prepare_images"]

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
#: Dice coefficient with the brain of the template below which a brain is hardly in its place: 0.90
#: and more of whole brains.
PLACED = 0.8
#: Size of the template's brain over that of the scan's, beyond which either is doubted: 0.55 to 1.2
#: were found of adults.
SIZES = (0.35, 1.5)

Contents = Literal["auto", "head", "brain"]
Mode = Literal["default", "published"]
Mask = NDArray[np.bool_]
Progress = Callable[[int, int], None]


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


def prepare_images(
    rows: Sequence[ImageRow],
    cache: Path,
    side: int = 64,
    *,
    mode: Mode = "default",
    workers: int = 2,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> list[Prepared | InputError]:
    """Of each row, in order, the .npy file in `cache` with its facts, or why there is none.

    The files and facts are those of `prepare_image`. What is in the cache is not made again, by the
    bytes of the scans, so that a run that was killed goes on; it is made in `workers` processes, or
    by the workers of the Dask `scheduler` (tcp://HOST:8786), which must see the same files.
    """
    found: list[Prepared | InputError | None] = [None] * len(rows)
    kinds = sorted({(row.contents, row.reference_contents) for row in rows})
    total, before = len(rows), 0
    for contents in kinds:
        chosen = [n for n, r in enumerate(rows) if (r.contents, r.reference_contents) == contents]
        version = "-".join((PREPARATION, mode, str(side), *contents))
        done = prepare_each(
            [rows[n] for n in chosen],
            partial(_keep, side, mode),
            cache,
            version,
            ".npy",
            workers,
            scheduler,
            None if progress is None else partial(_told, progress, before, total),
        )
        before += len(chosen)
        for number, one in zip(chosen, done, strict=True):
            found[number] = one
    return [one for one in found if one is not None]


def _told(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _keep(side: int, mode: Mode, row: ImageRow, path: Path) -> dict[str, Any]:
    voxels, facts = prepare_image(
        row.path,
        side,
        row.contents,
        threads=1,
        mode=mode,
        reference=row.reference,
        reference_contents=row.reference_contents,
    )
    with path.open("wb") as stream:
        np.save(stream, voxels)
    return facts


def prepare_image(
    path: Path,
    side: int = 64,
    contents: Contents = "auto",
    threads: int = 1,
    *,
    mode: Mode = "default",
    reference: Path | None = None,
    reference_contents: Contents = "auto",
) -> tuple[NDArray[np.float16], dict[str, Any]]:
    """The brain of a scan in MNI space (side, side, side), RAS, in [-1, 1], and facts about it.

    path       of the scan: NIfTI, MGZ, DICOM
    side       voxels along each edge of the cube of 224 mm: 128, or 64, 32, 16 averaged from these
    contents   "head" has a skull, "brain" has none (what is not background is brain), "auto" looks
    threads    of which no result depends on
    mode       "default" is a z-score in the brain, over four; "published" is clamped and scaled to
               what there is in the whole cube
    reference  a scan of the same person that is brought to MNI space in place of this one, which is
               brought to it by a rigid map

    The facts: `brain_ml`, the volume of its mask; `scale`, the volume of the brain over that of the
    template, by the affine map; `matrix` (4, 4), from MNI RAS mm to the scan's; `information`, what
    both have in common, nats; `overlap`, the Dice coefficient with the template's brain; `contents`
    as they were found; `quality` "ok" or "check", and `reasons`.

    Raises InputError naming the file for what cannot be read, or shows no brain.
    """
    brain = _brain(read_image(path), contents, threads)
    if reference is None:
        fit = register_affine(brain_template(), brain.levels, threads=threads)
        matrix = fit.matrix
    else:
        other = _brain(read_image(reference), reference_contents, threads)
        first = register_affine(brain_template(), other.levels, threads=threads)
        fit = register_rigid(other.levels, brain.levels, threads=threads)
        matrix = fit.matrix @ first.matrix
    grid = Grid(mni_grid().shape, matrix @ mni_grid().affine)
    overlap = _dice(resample(brain.mask, brain.levels.affine, grid, 0), brain_template().data > 0)
    facts = {
        "brain_ml": round(brain.volume_ml, 1),
        "scale": round(float(np.linalg.det(matrix.matrix[:3, :3])), 4),
        "matrix": np.round(matrix.matrix, 6).tolist(),
        "information": round(fit.information, 4),
        "overlap": round(overlap, 4),
        "contents": brain.contents,
    }
    reasons = (*brain.doubts, *_doubts(facts))
    facts |= {"quality": "check" if reasons else "ok", "reasons": list(reasons)}
    outside, values = (-1.0, brain.scores) if mode == "default" else (0.0, brain.levels.data)
    placed = resample_averaged(values, brain.levels.affine, grid, STEP, outside)
    voxels = averaged(placed, (side, side, side))
    return (voxels if mode == "default" else _published(voxels)).astype(np.float16), facts


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

    @property
    def volume_ml(self) -> float:
        """Of its mask."""
        return float(np.count_nonzero(self.mask)) * self.levels.volume_ml_per_voxel

    @property
    def scores(self) -> NDArray[np.float32]:
        """The z-scores of its levels over DEVIATIONS, in [-1, 1], and -1 outside (I, J, K)."""
        inside = self.levels.data[self.mask]
        scores = np.full(self.mask.shape, -1, np.float32)
        scores[self.mask] = (inside - inside.mean()) / (DEVIATIONS * inside.std())
        return np.clip(scores, -1, 1)


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


def _dice(first: Mask, second: Mask) -> float:
    return float(2 * (first & second).sum() / max(1, first.sum() + second.sum()))


def _doubts(facts: dict[str, Any]) -> list[str]:
    reasons = []
    if facts["overlap"] < PLACED:
        reasons.append(
            f"the brain was hardly brought to the template: they overlap by {facts['overlap']:.2f}"
        )
    if not SIZES[0] < facts["scale"] < SIZES[1]:
        reasons.append(f"the brain has {facts['scale']:.2f} times the size of the template's")
    return reasons


def _published(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The whole cube, clamped and scaled to [-1, 1]: which undoes the z-score that comes first."""
    low, high = np.percentile(levels, CLAMP)
    return np.asarray(2 * (np.clip(levels, low, high) - low) / (high - low) - 1, np.float32)
