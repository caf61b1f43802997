# SPDX-License-Identifier: Apache-2.0
"""Training patches: cut out of heads, synthetic or real, sliced, and spoilt as scans are.

The heads are the rows of a training table: label maps, or pairs of real scans.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encephalon.errors import TableError
from encephalon.geometry.affine import Affine, Grid, bounding_box, orient
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.io.reading import read_image, read_labels
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.network import Scale, make_features
from encephalon.studies.isotropic.reconstruction.problem import Problem, Stack
from encephalon.tables.schema import Table
from encephalon.training.dataset import in_threads
from encephalon.transforms.conform import straightened
from encephalon.transforms.masks import LABEL_COUNT, LARGEST_BRAIN_LABEL
from encephalon.transforms.parameters import ScannerRanges, SpatialRanges
from encephalon.transforms.slices import SIGMA_PER_FWHM, SliceOperator, SliceProfile
from encephalon.transforms.spatial import (
    draw_placement,
    sample_linear,
    sample_nearest,
    sampling_points,
)
from encephalon.transforms.synthesis import YOUNG, bias_field, synthesise_pair

Float = NDArray[np.float32]

#: Voxels beyond the patch along the slice axis, so that slices outside it inform its border.
MARGIN = 8
#: How synthetic heads are placed: any orientation, from small heads seen large to the opposite.
PLACEMENT = SpatialRanges(rotation=25.0, scaling=0.15, shear=0.05, warp=2.0, any_orientation=1.0)
#: Weight of background voxels, where hardly anything can be wrong.
BACKGROUND = 0.1
#: Sources are normalised already.
AS_IT_IS = Scale(0.0, 1.0)
#: Share of patches whose middle is brain, among those of whole heads.
BRAIN = 0.85
#: Intensity, in units of the scan's range, above which a voxel counts as foreground.
FOREGROUND = 0.03

#: Voxels of the truth may differ by this much in size and still count as cubes.
UNEVEN = 1.25


@dataclass(frozen=True)
class Subject:
    """A head for patches: its label map (I, J, K), or scan and guide (2, I, J, K) in [0, ~1]."""

    labels: NDArray[np.int16] | None = field(default=None, repr=False)
    scans: NDArray[np.float16] | None = field(default=None, repr=False)

    @property
    def real(self) -> bool:
        """Whether it was scanned."""
        return self.scans is not None

    @property
    def volume(self) -> NDArray[np.int16] | NDArray[np.float16]:
        """What there is something of, (I, J, K): where it is above 0, patches are cut."""
        found = self.labels if self.scans is None else self.scans[0]
        assert found is not None
        return found


@dataclass(frozen=True)
class Patch:
    """Features (9, N, N, N), and the truth and the voxels' weights (2, N, N, N)."""

    features: Float
    target: Float


def sample_patch(
    rng: np.random.Generator,
    subject: Subject,
    other: Subject,
    size: int,
    ranges: ScannerRanges,
) -> Patch:
    """A patch of `size` voxels of `subject`; a wrong guide shows `other`."""
    from scipy.ndimage import gaussian_filter1d

    shape = (size, size, size + 2 * MARGIN)
    wrong = rng.random() < ranges.wrong
    if subject.scans is None:
        truth, guide = _synthesised(rng, subject, other if wrong else subject, shape, ranges)
    else:
        truth, guide = _cut(rng, subject, shape, ranges)
        guide = _cut(rng, other, shape, ranges)[1] if wrong and other.scans is not None else guide
    if ranges.resampled and rng.random() < ranges.resampled:
        # As blurred along the slice axis as slices of 2 to 5 voxels would leave them.
        truth, guide = (
            gaussian_filter1d(
                image, float(rng.uniform(2, 5)) * SIGMA_PER_FWHM, axis=-1, mode="nearest"
            )
            for image in (truth, guide)
        )
    gain, level = np.float32(np.exp(rng.normal(0, 0.12))), np.float32(rng.uniform(-0.06, 0.02))
    return _scanned(rng, truth * gain + level, guide, size, ranges, float(level))


def _synthesised(
    rng: np.random.Generator,
    subject: Subject,
    shown: Subject,
    shape: tuple[int, int, int],
    ranges: ScannerRanges,
) -> tuple[Float, Float]:
    labels = torch.as_tensor(subject.volume)
    centre = _centre(rng, subject)
    placement = draw_placement(rng, centre, float(np.exp(rng.normal(0, 0.1))), PLACEMENT)
    points = sampling_points(placement, shape)
    moved = _misregistered(rng, points, ranges)
    guide = torch.as_tensor(shown.volume)
    if shown is not subject:
        moved = moved - moved.mean((0, 1, 2)) + torch.as_tensor(_centre(rng, shown))
    contrasts = YOUNG if ranges.infant and rng.random() < ranges.infant else None
    return synthesise_pair(
        rng,
        sample_nearest(labels, points),
        sample_nearest(guide, moved.float()),
        ranges.lesion,
        contrasts,
    )


def _misregistered(rng: np.random.Generator, points: Tensor, ranges: ScannerRanges) -> Tensor:
    """`points` (I, J, K, 3), turned about their middle and shifted.

    Most guides are registered well, and a few badly.
    """
    from scipy.spatial.transform import Rotation

    spread = ranges.rotation * (4.0 if rng.random() < 0.1 else 1.0)
    matrix = Rotation.from_euler("xyz", rng.normal(0, spread, 3), degrees=True).as_matrix()
    moved = points @ torch.as_tensor(matrix, dtype=torch.float32).T
    spread = ranges.shift * (5.0 if rng.random() < 0.1 else 1.0)
    shift = torch.as_tensor(rng.normal(0, spread, 3), dtype=torch.float32)
    return moved - moved.mean((0, 1, 2)) + points.mean((0, 1, 2)) + shift


def _cut(
    rng: np.random.Generator, subject: Subject, shape: tuple[int, int, int], ranges: ScannerRanges
) -> tuple[Float, Float]:
    """Scan and guide of real voxels, in any orientation; the guide moved in some."""
    assert subject.scans is not None
    scanned = subject.scans
    if ranges.swapped and rng.random() < ranges.swapped:
        scanned = scanned[::-1]
    order = rng.permutation(3)
    sizes = np.asarray(shape)[np.argsort(order)]
    # Whole voxels are not interpolated: what is learnt must be as sharp as what was scanned.
    low = np.round(_centre(rng, subject) - (sizes - 1) / 2)
    grid = torch.stack(
        torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in sizes], indexing="ij"), -1
    )
    points = grid + torch.as_tensor(low, dtype=torch.float32)
    scan = _values(scanned[0], low.astype(int), sizes)
    if rng.random() < 0.4:
        moved = _misregistered(rng, points, ranges)
        volume = torch.as_tensor(scanned[1].astype(np.float32))
        guide = sample_linear(volume[None], moved.float(), 0.0)[0].numpy()
    else:
        guide = _values(scanned[1], low.astype(int), sizes)
    flips = tuple(slice(None, None, int(step)) for step in rng.choice([-1, 1], 3))
    scan, guide = (image.transpose(order)[flips] for image in (scan, guide))
    if rng.random() < 0.1:  # other contrasts than those that were scanned
        guide = guide.max() - guide
    power = np.exp(rng.normal(0, 0.15, 2))
    return _powered(scan, power[0]), _powered(guide, power[1])


def _powered(image: Float, power: float) -> Float:
    return np.asarray(np.clip(image, 0, None) ** power, np.float32)


def _values(volume: NDArray[np.float16], low: NDArray[np.int_], sizes: NDArray[np.int_]) -> Float:
    """The box of `volume` (I, J, K) that begins at voxel `low`, 0 beyond its end."""
    found = np.zeros(sizes, np.float32)
    first = np.clip(low, 0, volume.shape)
    last = np.clip(low + sizes, 0, volume.shape)
    inside = tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))
    found[inside] = volume[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    return found


def _centre(rng: np.random.Generator, subject: Subject) -> NDArray[np.float64]:
    """A voxel of the brain mostly, of the head otherwise, drawn by trying."""
    volume = subject.volume
    highest = LARGEST_BRAIN_LABEL if rng.random() < BRAIN else np.iinfo(np.int16).max
    for _ in range(200):
        place = rng.integers(0, volume.shape)
        if 0 < volume[tuple(place)] < highest:
            break
    return place.astype(np.float64)


def _scanned(
    rng: np.random.Generator,
    truth: Float,
    guide: Float,
    size: int,
    ranges: ScannerRanges,
    level: float,
) -> Patch:
    operator = draw_operator(rng, truth.shape[2], ranges)
    slices = operator.slice(truth)
    noise = float(rng.uniform(0, ranges.noise)) if rng.random() < 0.7 else 0.0
    slices = slices + noise * rng.standard_normal(slices.shape, dtype=np.float32)
    coverage = np.ones(guide.shape, bool)
    if rng.random() < ranges.cut:
        lines = coverage.swapaxes(0, int(rng.integers(3)))
        lines[: int(rng.integers(1, len(lines)))] = False
    given = None
    if rng.random() >= ranges.missing:
        image = torch.from_numpy(np.ascontiguousarray(guide))
        image = bias_field(rng, image, float(rng.uniform(0, ranges.bias)))
        noise = float(rng.uniform(0, ranges.guide_noise))
        image = image + noise * torch.as_tensor(rng.standard_normal(guide.shape, dtype=np.float32))
        given = np.asarray(image.numpy() * np.exp(rng.normal(0, 0.12)), np.float32)
    i, j, k = truth.shape
    stack = Stack(slices, Grid((i, j, k), Affine.from_spacing(1.0)), operator)
    problem = Problem((stack,), 2, given, None if given is None else coverage)
    features = make_features(problem, guided(problem), AS_IT_IS, AS_IT_IS)
    middle = slice(MARGIN, MARGIN + size)
    weight = np.where(truth > level + FOREGROUND, 1.0, BACKGROUND).astype(np.float32)
    target = np.stack([truth, weight])[..., middle]
    return Patch(features[..., middle], target)


def draw_operator(rng: np.random.Generator, voxels: int, ranges: ScannerRanges) -> SliceOperator:
    """Slices of a distance, thickness, position and profile that are drawn."""
    low, high = np.log(ranges.ratio)
    distance = float(np.exp(rng.uniform(low, high)))
    if rng.random() < 0.5:
        distance = max(2.0, round(distance))
    thickness = distance * (float(rng.uniform(0.5, 1)) if rng.random() < ranges.gap else 1.0)
    profile = SliceProfile("gaussian" if rng.random() < ranges.gaussian else "box")
    if ranges.decimated and rng.random() < ranges.decimated:
        profile = SliceProfile("point")
    first = float(rng.uniform(-0.5, distance - 0.5))
    middles = np.arange(first, voxels - 0.5, distance)
    return SliceOperator.of(profile, thickness, middles, voxels, 1.0)


@dataclass(frozen=True)
class SubjectFiles:
    """A row of a training table as files, and its number in a spreadsheet."""

    number: int
    labels: Path | None
    t2w: Path | None
    t1w: Path | None

    @property
    def files(self) -> list[Path]:
        """The label map, or the T2w and its T1w; whichever there are."""
        return [path for path in (self.labels, self.t2w, self.t1w) if path is not None]


def subject_files(table: Table) -> list[SubjectFiles]:
    """The rows of `table`; raises TableError, naming the row, where one has nothing to learn."""
    found = []
    for place in range(len(table)):
        labels, t2w, t1w = (_file(table, role, place) for role in ("labels", "t2w", "t1w"))
        if labels is None and (t2w is None or t1w is None):
            raise TableError(
                f"{table.source}, row {table.row(place)}: expected a label map, or an isotropic "
                "T2w and its T1w, but the row names neither a label map nor both: fill it in or "
                "drop it."
            )
        found.append(SubjectFiles(table.row(place), labels, t2w, t1w))
    return found


def load_subjects(table: Table, workers: int = 2) -> list[Subject]:
    """One head a row: its `labels`, or its isotropic `t2w` with the `t1w`, in memory.

    Raises TableError, naming the row, for a head that cannot be learnt from, and what reading
    raises.
    """
    return in_threads(load_subject, subject_files(table), workers)


def load_subject(row: SubjectFiles) -> Subject:
    """The head of a row.

    Scans keep their voxels, so that what is learnt is as sharp as what was scanned; the T1w is
    brought onto the grid of the T2w by their headers, which therefore must agree.
    """
    if row.labels is not None:
        return _from_labels(row.labels, row.number)
    assert row.t2w is not None
    assert row.t1w is not None
    scan, guide = straightened(read_image(row.t2w)), read_image(row.t1w)
    _require_isotropic(scan, row.number)
    moved = resample(guide.data, guide.affine, scan.grid, order=3, outside=0.0)
    pair = []
    for data in (scan.data, moved):
        values = np.asarray(data, np.float32)
        what = f"Row {row.number}: {scan.name}"
        values = np.maximum(Scale.of(values, what).normalise(values), 0)
        pair.append(orient(values, scan.affine, "RAS")[0])
    box = bounding_box(pair[0] > 0)
    return Subject(scans=np.stack([image[box] for image in pair]).astype(np.float16))


def _file(table: Table, role: str, row: int) -> Path | None:
    column = table.columns.inputs.get(role)
    cell = table.texts(column)[row] if column is not None and table.has(column) else ""
    return table.path(cell) if cell else None


def _from_labels(path: Path, number: int) -> Subject:
    image = straightened(read_labels(path), order=0)
    _require_isotropic(image, number)
    if int(image.data.max()) >= LABEL_COUNT or not image.data.any():
        raise TableError(
            f"Row {number}: {path} must hold labels from 1 to {LABEL_COUNT - 1}, but the largest "
            f"is {int(image.data.max())}: map them to FreeSurfer's."
        )
    data, _ = orient(image.data, image.affine, "RAS")
    return Subject(labels=np.ascontiguousarray(data[bounding_box(data > 0)], dtype=np.int16))


def _require_isotropic(image: Image, number: int) -> None:
    if max(image.spacing) > UNEVEN * min(image.spacing):
        sizes = " x ".join(f"{size:.3g}" for size in image.spacing)
        raise TableError(
            f"Row {number}: {image.name} is what the network is to reach, so its voxels must be "
            f"cubes, but they are {sizes} mm: give an isotropic one."
        )


def count_pairs(table: Table) -> dict[str, int]:
    """How many rows have a label map, and how many a pair of scans."""
    column = table.columns.inputs.get("labels", "")
    maps = sum(map(bool, table.texts(column))) if table.has(column) else 0
    return {"label_maps": maps, "pairs": len(table) - maps}
