# SPDX-License-Identifier: Apache-2.0
"""The image in memory, and the way in and out: one function each, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from encephalon.geometry.affine import Affine, Grid
from encephalon.io.content import plain_numbers, refuse_useless, volume_shape

# suffix -> (module with read(path) -> Image, whether it has write(path, data, like) as well)
FORMATS = {
    ".nii.gz": ("nifti", True),
    ".nii": ("nifti", True),
    ".mgz": ("mgz", True),
    ".mgh": ("mgz", True),
    ".npy": ("arrays", True),
    ".npz": ("arrays", True),
    ".dcm": ("dicom", False),
    ".ima": ("dicom", False),
}
IMAGE_SUFFIXES = tuple(FORMATS)
#: A file of these is one slice of a volume; they are read and never written.
SLICE_SUFFIXES = tuple(suffix for suffix, (_, writes) in FORMATS.items() if not writes)


@dataclass(frozen=True, eq=False)
class Image:
    """One volume: `data` (I, J, K) of a real type, its place in the world and where it came from.

    `header` is what the format needs to write on the same grid again (nibabel's header, or
    None); `warnings` are sentences about what was noticed while reading. Those of them that put
    what is made from the image in doubt are `doubts` too, as reasons without the name.
    """

    data: NDArray[Any] = field(repr=False)
    affine: Affine
    source: Path | None = None
    header: Any = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def doubted(self, reason: str) -> Image:
        """The same image with one more doubt, which is a warning as well."""
        warning = f"{self.name}: {reason}."
        return replace(self, warnings=(*self.warnings, warning), doubts=(*self.doubts, reason))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        i, j, k = self.data.shape
        return i, j, k

    @property
    def grid(self) -> Grid:
        """Shape and affine together."""
        return Grid(self.shape, self.affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edges along i, j, k, mm."""
        return self.affine.spacing

    @property
    def volume_ml_per_voxel(self) -> float:
        """Volume of one voxel, mL."""
        return self.affine.voxel_volume / 1000.0

    @property
    def name(self) -> str:
        """What messages call it: the path, or 'the array'."""
        return str(self.source) if self.source is not None else "the array"


def image_suffix(path: str | Path) -> str | None:
    """The known image suffix that `path` ends in (lower case, '.nii.gz' whole), or None."""
    name = Path(path).name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), None)


def image_stem(path: str | Path) -> str:
    """The file name without its image suffix: 'scan' for 'scan.nii.gz'."""
    name, suffix = Path(path).name, image_suffix(path)
    return name[: -len(suffix)] if suffix else Path(path).stem


def content_check(image: Image) -> None:
    """Raise ContentError when the voxels are not finite or all equal."""
    refuse_useless(image.data, image.name)


def from_array(
    data: NDArray[Any], affine: Affine | None, source: Path | None = None, header: Any = None
) -> Image:
    """An Image of `data` after the checks of shape and type; 1 mm RAS voxels without `affine`."""
    name = source or "the array"
    data = data.reshape(volume_shape(data.shape, name), order="F")
    warnings: tuple[str, ...] = ()
    if affine is None:
        affine = Affine.from_spacing(1.0)
        warnings = (f"{name}: no affine came with the array; 1 mm voxels in RAS order assumed.",)
    return Image(plain_numbers(data, name), affine, source, header, warnings)
