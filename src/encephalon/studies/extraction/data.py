# SPDX-License-Identifier: Apache-2.0
"""Training samples from the rows of a table, prepared once and kept in the run's cache.

The network learns signed distances (mm) to borders, computed from a label map or a mask. A brain
has two: `brain` encloses it with the fluid in its sulci (what most masks mean), and `tissue` leaves
the outer fluid away (`--no-csf`). A lesion has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256 as sha256_of
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, TableError
from encephalon.geometry.affine import Grid, bounding_box, orient
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.io.reading import read_image, read_labels
from encephalon.studies.extraction.segmentation.localisation import (
    BrainFinder,
    brain_finder,
    centred_grid,
    first_and_last,
)
from encephalon.studies.extraction.settings import ExtractionSettings
from encephalon.tables.encoding import map_labels
from encephalon.tables.schema import Table
from encephalon.training.dataset import prepare
from encephalon.transforms import masks
from encephalon.transforms.conform import straight_grid
from encephalon.transforms.masks import CSF, LABEL_COUNT, LARGEST_BRAIN_LABEL, SPINAL_CORD
from encephalon.transforms.parameters import FAR_SPACING

__all__ = ["Row", "count_scans", "millimetre_grid", "prepare_samples", "table_rows"]

#: Changes when the preparation changes, so that an old cache is not used.
PREPARATION = "2"

#: Millimetres beyond which a distance says no more than "far": 6 working voxels of 2 mm.
TRUNCATION = 12.7
#: Radius (mm) of the closing that bridges sulci. Gyral crowns are up to about 15 mm apart across
#: the great fissures; 8 mm follows the outer surface as published brain masks do.
SULCUS_RADIUS = 8.0
#: Margin (mm) around the brain within which distances are computed.
MARGIN = 16


@dataclass(frozen=True)
class Row:
    """One row of a table as files: its number in a spreadsheet, scan (if any) and target."""

    number: int
    scan: Path | None
    target: Path

    @property
    def files(self) -> list[Path]:
        """The scan, if there is one, and the target."""
        return [self.scan, self.target] if self.scan else [self.target]


@dataclass(frozen=True)
class _Preparation:
    """How rows become heads: the label mapping, if any, and for lesions what finds the brain."""

    mapping: Mapping[str, int] | None
    finder: BrainFinder | None

    @property
    def version(self) -> str:
        """Tells the heads of one preparation from those of another."""
        if self.mapping is None and self.finder is None:
            return PREPARATION
        finder = self.finder.identity if self.finder else ""
        return f"{PREPARATION}-{sha256_of(repr((self.mapping, finder)).encode()).hexdigest()[:16]}"

    def __call__(self, row: Row, path: Path) -> None:
        """Write the head of `row` to `path`."""
        try:
            head = self._head(row)
        except ValueError as error:
            if isinstance(error, EncephalonError):
                raise
            raise TableError(
                f"Row {row.number}: {row.target} {error}: give a whole brain."
            ) from error
        present = {name: array for name, array in vars(head).items() if array is not None}
        with path.open("wb") as stream:
            np.savez(stream, **present)

    def _head(self, row: Row) -> TrainingSample:
        labels = read_labels(row.target)
        known = labels.data if self.mapping is None else map_labels(labels.data, self.mapping)
        grid = millimetre_grid(labels)
        values = resample(known, labels.affine, grid, order=0, outside=0)
        if row.scan is None:
            if self.finder is not None:
                raise TableError(
                    f"Row {row.number}: {row.target} has no scan, which a lesion needs: name it."
                )
            highest = int(values.max())
            if highest >= LABEL_COUNT:
                raise TableError(
                    f"Row {row.number}: {row.target} has the label {highest}, but scans are made "
                    f"up from labels below {LABEL_COUNT} only: map the labels in [table]."
                )
            return sample_from_labels(values.astype(np.int16))
        image = read_image(row.scan)
        resampled = resample(image.data, image.affine, grid, order=1, outside=0)
        intensities = np.asarray(resampled, np.float32)
        if self.finder is None:
            return sample_from_mask(intensities, values > 0)
        box = self.finder.box(image, grid)
        if box is None:
            raise TableError(
                f"Row {row.number}: no brain was found in {row.scan}: leave the row out."
            )
        return sample_from_lesion(intensities, values > 0, box)


def prepare_samples(
    table: Table, cache: Path, workers: int = 2, settings: ExtractionSettings | None = None
) -> list[TrainingSample]:
    """One head a row: a label map when the row has no scan, else a scan with its mask.

    Each file is prepared once, in `workers` processes (none but this one for 1), and kept in
    `cache` under the hash of its content. With `settings` for a lesion the brain of each scan is
    found by the shipped brain model.
    Raises TableError for a row whose target holds no brain, or whose scan none is found in;
    RunError when the brain model is needed and missing; and whatever reading raises.
    """
    rule = table.columns.labels
    mapping = rule if isinstance(rule, dict) else None
    finder = brain_finder(settings.grids) if settings and settings.target == "lesion" else None
    how = _Preparation(mapping, finder)
    paths = prepare(table_rows(table), how, cache, f"head-{how.version}", ".npz", workers)
    heads = []
    for path in paths:
        with np.load(path, allow_pickle=False) as kept:
            heads.append(TrainingSample(**kept))
    return heads


def table_rows(table: Table) -> list[Row]:
    """The rows of `table` as files; the scan of a row may be missing."""
    column = table.columns.inputs["image"]
    scans = table.texts(column) if table.has(column) else [""] * len(table)
    targets = table.texts(str(table.columns.target))
    return [
        Row(table.row(place), table.path(scan) if scan else None, table.path(target))
        for place, (scan, target) in enumerate(zip(scans, targets, strict=True))
    ]


def count_scans(table: Table) -> dict[str, int]:
    """How many rows have a scan, and how many a label map alone."""
    real = sum(row.scan is not None for row in table_rows(table))
    return {"real_scans": real, "label_maps": len(table) - real}


def millimetre_grid(image: Image) -> Grid:
    """The 1 mm RAS grid nearest to the image's own axes, around the same field of view."""
    straight = straight_grid(image.grid, image.name)
    nothing = np.broadcast_to(np.uint8(0), straight.shape)
    oriented, affine = orient(nothing, straight.affine, "RAS")
    shape = np.asarray(oriented.shape)
    i, j, k = np.maximum(1, np.round(shape * np.asarray(affine.spacing))).astype(int).tolist()
    centre = affine.apply(((shape - 1) / 2)[None])[0]
    return centred_grid(affine, centre, (i, j, k), 1.0)


@dataclass(frozen=True)
class TrainingSample:
    """A head ready for training: RAS axes, 1 mm voxels.

    distances  (borders, A, B, C) int8, signed distance to the brain and tissue borders, or to that
               of the lesion, in tenths of a mm, positive inside, clipped at ±12.7 mm; a window of
               the volume, beyond which all is far.
    corner     Voxel of the volume at which the window of `distances` begins, (3,).
    box        First and last brain voxel on each axis, (3, 2).
    labels     (I, J, K) int16 label map, or None for a real scan.
    far        Of a label map, (I, J, K) of every `FAR_SPACING`-th voxel, float16: rough
               signed distance to the brain's border over the whole head, mm, positive inside.
    image      (I, J, K) float32 intensities, or None for a label map.
    """

    distances: NDArray[np.int8]
    corner: NDArray[np.int64]
    box: NDArray[np.int64]
    labels: NDArray[np.int16] | None = None
    image: NDArray[np.float32] | None = None
    far: NDArray[np.float16] | None = None


def sample_from_labels(labels: NDArray[np.int16]) -> TrainingSample:
    """Prepare a RAS, 1 mm label map (I, J, K); raises ValueError when it holds no brain."""
    tissue = (labels > 0) & (labels < LARGEST_BRAIN_LABEL) & ~np.isin(labels, CSF)
    _require_brain(tissue)
    brain = closing(tissue, (labels < LARGEST_BRAIN_LABEL) & ~np.isin(labels, SPINAL_CORD))
    coarse = brain[(slice(None, None, FAR_SPACING),) * 3]
    far = (masks.signed_distance(coarse) * FAR_SPACING).astype(np.float16)
    return replace(_sample([brain, _solid(tissue)], first_and_last(brain), labels=labels), far=far)


def sample_from_mask(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> TrainingSample:
    """Prepare a RAS, 1 mm scan and its brain mask; the tissue border is unknown and set to it."""
    _require_brain(mask)
    return _sample([mask, mask], first_and_last(mask), image=image)


def sample_from_lesion(
    image: NDArray[np.float32], mask: NDArray[np.bool_], box: NDArray[np.int64]
) -> TrainingSample:
    """Prepare a RAS, 1 mm scan, a lesion's mask, which may be empty, and the brain's `box`."""
    return _sample([mask], box, image=image)


def _require_brain(mask: NDArray[np.bool_]) -> None:
    if not mask.any():
        raise ValueError("holds no brain voxel")


def _sample(
    masks: Sequence[NDArray[np.bool_]],
    box: NDArray[np.int64],
    labels: NDArray[np.int16] | None = None,
    image: NDArray[np.float32] | None = None,
) -> TrainingSample:
    # Two voxels of a window that is all far can be interpolated; one could not.
    window = bounding_box(masks[0], MARGIN) if masks[0].any() else (slice(0, 2),) * 3
    corner = np.array([part.start for part in window], np.int64)
    borders = [signed_distance(mask[window]) for mask in masks]
    tenths = np.round(np.stack(borders) * 10).astype(np.int8)
    return TrainingSample(tenths, corner, box, labels, image)


def closing(tissue: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close the sulci of `tissue` (1 mm voxels) as far as `allowed` goes, and fill its holes."""
    from scipy import ndimage

    window = bounding_box(tissue, MARGIN)
    inner = tissue[window]
    grown = ndimage.distance_transform_edt(~inner) <= SULCUS_RADIUS
    closed = ndimage.distance_transform_edt(grown) > SULCUS_RADIUS
    result = np.zeros_like(tissue)
    result[window] = _solid((closed & allowed[window]) | inner)
    return result


def _solid(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of `mask`, without holes."""
    return masks.fill_holes(masks.largest_piece(mask, masks.FACES))


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Smooth `masks.signed_distance` (mm at 1 mm voxels), ±12.7 at most."""
    from scipy import ndimage

    if not mask.any():  # there is no border to be near to
        return np.full(mask.shape, -TRUNCATION, np.float32)
    signed = ndimage.gaussian_filter(masks.signed_distance(mask), 0.6)
    clipped: NDArray[np.float32] = np.clip(signed, -TRUNCATION, TRUNCATION).astype(np.float32)
    return clipped
