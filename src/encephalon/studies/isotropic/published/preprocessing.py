# SPDX-License-Identifier: Apache-2.0
"""The steps of BABY-AI around its network, and the thick slices that it was trained on.

Source: its repository, baby-ai-local. Volumes are padded, normalised, cut into patches and
averaged; the defects are kept on purpose, and `PublishedPredictor` names them. No slice is thick:
every k-th is kept as it is, and what is kept is stretched over the whole grid, which moves it by up
to k - 1 voxels. That serves comparisons with published results alone; `simulate` does what scanners
do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import (
    ContentError,
    GeometryError,
    ModelError,
    UnreadableFileError,
    UsageError,
)
from encephalon.geometry.affine import Affine, Grid
from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.image import image_stem, image_suffix

if TYPE_CHECKING:
    from encephalon.io.image import Image
    from encephalon.studies.isotropic.published.settings import Window

Float = NDArray[np.float32]
Starts = NDArray[np.int64]

Network = Callable[[Float], Float]
"""Maps patches (B, 2, N, N, N), T1w and T2w, to patches (B, 1, N, N, N)."""

Tell = Callable[[int, int], None]
"""Told after each batch how many patches are done, and of how many."""

ATLAS = Affine(
    np.asarray([[-1, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]], dtype=np.float64)
)
"""Where the published atlas lies: stored left to right, 1 mm (BABY-AI's `infant_atlas.nii.gz`)."""
#: Percentiles of the voxels above 0 that become 0 and 1, and what keeps their distance from 0.
PERCENTILES, TINY = (1, 99), 1e-6
#: Voxel edges may differ from 1 mm by this much, mm: headers hold single precision.
ROUNDING = 1e-3
Double = NDArray[np.float64]
#: Standard deviation of the Gaussian window, as a share of the patch's edge: that of nnU-Net
#: (Isensee et al. 2021) and MONAI.
WINDOW_WIDTH = 1 / 8
#: The factors that were published.
FACTORS = (2, 3, 4, 5)


def check_atlas_grid(grid: Grid, shape: tuple[int, int, int], name: str) -> None:
    """Raise ContentError, naming the file `name`, unless it has `shape` voxels of 1 mm.

    Where these voxels lie is not looked at: the published program did not either.
    """
    spacing = grid.affine.spacing
    if grid.shape == shape and np.allclose(spacing, 1, rtol=0, atol=ROUNDING):
        return
    edges = " x ".join(f"{edge:.4g}" for edge in spacing)
    raise ContentError(
        f"{name}: BABY-AI takes T1w and interpolated T2w on its atlas grid, {_sizes(shape)} voxels "
        f"of 1 mm, but this has {_sizes(grid.shape)} voxels of {edges} mm: give an "
        "image on that grid with --atlas, which brings scans there, or use the model 'isotropic', "
        "which takes scans as they are."
    )


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def padding(
    shape: tuple[int, int, int], padded: tuple[int, int, int]
) -> tuple[tuple[int, int], ...]:
    """Voxels to add before and after each axis so that `shape` becomes `padded`, alike if even."""
    added = [big - small for small, big in zip(shape, padded, strict=True)]
    return tuple((count // 2, count - count // 2) for count in added)


def pad(volume: NDArray[Any], padded: tuple[int, int, int]) -> NDArray[Any]:
    """`volume` (I, J, K) in the middle of zeros, in the shape `padded`."""
    i, j, k = volume.shape
    return np.pad(volume, padding((i, j, k), padded))


def normalise(volume: NDArray[Any], name: str) -> Float:
    """(x - p1) / (p99 - p1 + 1e-6), between 0 and 1; percentiles of the voxels above 0.

    Values below 0 count for nothing. Raises ContentError, naming the file `name`, where no voxel
    is above 0.
    """
    values = np.asarray(volume, dtype=np.float64)
    inside = values[values > 0]
    if not inside.size:
        raise ContentError(
            f"{name}: expected a scan with values above 0, by which it is normalised, but there "
            "are none: check the file."
        )
    low, high = np.percentile(inside, PERCENTILES)
    return np.asarray(np.clip((values - low) / (high - low + TINY), 0, 1), np.float32)


def patch_starts(shape: tuple[int, ...], patch: int, stride: int) -> Starts:
    """The first voxel of each patch (N, 3) in raster order, the last axis fastest."""
    lines = [np.arange(0, size - patch + 1, stride) for size in shape]
    return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, len(shape))


def cut_patches(volume: Float, starts: Starts, patch: int) -> Float:
    """The patches (N, C, n, n, n) of `volume` (C, I, J, K) that begin at `starts` (N, 3)."""
    return np.stack([volume[(slice(None), *box)] for box in _boxes(starts, patch)])


def predict_patches(
    volume: Float,
    network: Network,
    starts: Starts,
    *,
    patch: int = 32,
    batch_size: int = 1,
    window: Window = "uniform",
    tell: Tell | None = None,
) -> NDArray[np.float64]:
    """The mean (I, J, K) of what `network` says of the patches of `volume` (2, I, J, K).

    Every patch counts the same at each of its voxels, or less towards its edges with the `window`
    "gaussian"; where none of `starts` (N, 3) reaches, the result is 0. Some of all patches are
    enough to measure how long a volume takes. Raises ModelError for an answer that has not the
    shape of a patch, or is not finite.
    """
    total = np.zeros(volume.shape[1:], np.float64)
    counts = np.zeros(volume.shape[1:], np.float64)
    weight = _window(patch) if window == "gaussian" else np.ones((patch,) * 3)
    for first in range(0, len(starts), batch_size):
        group = starts[first : first + batch_size]
        answers = network(cut_patches(volume, group, patch))
        wanted = (len(group), 1, patch, patch, patch)
        if answers.shape != wanted:
            raise ModelError(
                f"The network must answer patches with the shape {wanted}, but it gave "
                f"{answers.shape}: use the weights of a published reconstruction."
            )
        if not np.isfinite(answers).all():
            raise ModelError(
                "The network's answer is not finite: get the weights again, or compute without "
                "half precision."
            )
        for box, answer in zip(_boxes(group, patch), answers, strict=True):
            total[box] += weight * answer[0]
            counts[box] += weight
        if tell is not None:
            tell(first + len(group), len(starts))
    return np.divide(total, counts, out=total, where=counts > 0)


def _window(patch: int) -> NDArray[np.float64]:
    """What each voxel of a patch (N, N, N) counts: a Gaussian about its middle."""
    from scipy.signal.windows import gaussian

    line = np.asarray(gaussian(patch, WINDOW_WIDTH * patch))
    return np.asarray(line[:, None, None] * line[:, None] * line)


def _boxes(starts: Starts, patch: int) -> Iterator[tuple[slice, ...]]:
    return (tuple(slice(first, first + patch) for first in start) for start in starts.tolist())


def decimate(data: NDArray[Any], factor: int, axis: int, start: int = 0) -> Double:
    """`data` (I, J, K) with every `factor`-th slice of `axis` from `start`, on its grid, float64.

    Bit for bit what `create_LR_img` makes of float64 data: SciPy's `zoom` of order 3 over all
    axes, which takes the first and the last kept slice for the first and the last voxel.
    Its `start_slice` was 0. Raises UsageError for a factor below 2 or a start that is not below it,
    GeometryError where fewer than two slices are kept.
    """
    from scipy.ndimage import zoom

    if factor < 2:
        raise UsageError(f"Every slice is kept with a factor of {factor}: give 2 or more.")
    if not 0 <= start < factor:
        raise UsageError(f"The first slice kept must be 0 to {factor - 1}, but it is {start}.")
    kept = [slice(None)] * 3
    kept[axis] = slice(start, None, factor)
    down = np.asarray(data, dtype=np.float64)[tuple(kept)]
    if down.shape[axis] < 2:
        raise GeometryError(
            f"Of {data.shape[axis]} slices only {down.shape[axis]} is kept with a factor of "
            f"{factor}: give a smaller one."
        )
    return np.asarray(zoom(down, np.array(data.shape) / np.array(down.shape), order=3))


def decimated_path(folder: Path, source: Path, direction: str, factor: int) -> Path:
    """Where the published program writes: axial/LR4/<stem>_axial_T2w_LR4.nii.gz below `folder`."""
    name = f"{image_stem(source)}_{direction}_T2w_LR{factor}.nii.gz"
    return folder / direction / f"LR{factor}" / name


def read_published(image: Image) -> Double:
    """The voxels of a checked image as the published program reads them, float64.

    Scaled integers are scaled in double precision, where `read_image` is content with single.
    Raises UnreadableFileError for a file that nibabel cannot read.
    """
    source = image.source
    if source is None or (image_suffix(source) or "") not in (".nii", ".nii.gz"):
        return np.asarray(image.data, dtype=np.float64)
    import nibabel

    try:
        loaded: Any = nibabel.load(source)
        return np.asarray(loaded.get_fdata(dtype=np.float64)).reshape(image.shape)
    except Exception as error:  # nibabel has many errors of its own
        raise UnreadableFileError(f"{source}: the voxels could not be read: {error}.") from error


def write_published(data: Double, path: Path, like: Image, overwrite: bool = False) -> Path:
    """Write `data` (I, J, K) as float64 with the affine of `like` and nothing else of its header.

    Atomic. Raises OutputExistsError unless `overwrite`, OutputError when it cannot be written.
    """
    from nibabel.nifti1 import Nifti1Image

    refuse_existing(path, overwrite)
    make: Any = Nifti1Image  # nibabel has few types of its own
    image = make(data, like.affine.matrix)
    with atomic_path(path, overwrite) as temporary:
        image.to_filename(temporary)
    return path
