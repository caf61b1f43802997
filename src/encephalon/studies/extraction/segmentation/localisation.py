# SPDX-License-Identifier: Apache-2.0
"""Find the brain in a scan of any field of view, lay the fine grid around it, and see it cut.

Every grid here has the scan's own axes (sorted to RAS) and isotropic voxels, so that resampling is
separable and nothing is turned. Training on lesions finds the brain by the shipped brain model.

Where the field of view cuts the brain, a network that sees nothing beyond the face rounds the brain
off inside it, so the mask alone hides the cut: the more it loses, the less of it touches the face.
So the network is asked once more, with the scan continued beyond its faces by its mirror image. A
brain that ends within the field of view ends there still, skull and scalp between it and its image;
one that is cut goes on across the face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError, RunError
from encephalon.geometry.affine import Affine, Grid, bounding_box, corners, orient
from encephalon.geometry.resample import resample_aligned
from encephalon.io.image import Image
from encephalon.models.catalogue import find_model
from encephalon.models.published import PublishedFile
from encephalon.studies.extraction.settings import LOCATOR, Grids, Size
from encephalon.transforms.conform import straightened
from encephalon.transforms.grey_levels import normalise_percentiles
from encephalon.transforms.masks import largest_piece

if TYPE_CHECKING:
    from encephalon.inference.runtimes import Runtime
    from encephalon.models.folder import ModelFolder
    from encephalon.models.graph import Graph

__all__ = ["BrainFinder", "areas_across", "areas_on_faces", "brain_finder", "larger_areas"]

Float = NDArray[np.float32]

#: Room left around the brain when a wide field of view is searched a second time.
SECOND_PASS = 0.6
#: Narrowest field of view (mm) that the first look spans; a cropped scan is not blown up.
SMALLEST_VIEW = 120.0

#: Side of the body by the letter of an anatomical direction.
SIDES = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


@dataclass(frozen=True)
class Network:
    """What draws borders.

    distances  Distances (borders, I, J, K), in voxels, of an image (I, J, K) in [0, 1].
    unseen     What the image holds where the scan does not reach.
    """

    distances: Callable[[Float], Float]
    unseen: float = 0.0

    def __call__(self, image: Float) -> Float:
        """The distances of `image`."""
        return self.distances(image)


@dataclass(frozen=True)
class View:
    """A scan on a working grid.

    grid    Isotropic, with the scan's axes sorted to RAS.
    image   (I, J, K) in [0, 1], and what the network knows as unseen outside the field of view.
    inside  (I, J, K), which voxels the scan covers.
    """

    grid: Grid
    image: Float
    inside: NDArray[np.bool_]

    @property
    def spacing(self) -> float:
        """Millimetres per voxel."""
        return float(self.grid.affine.spacing[0])


@dataclass(frozen=True)
class BrainLocation:
    """The brain as the coarse grid saw it: the view, and distances (2, I, J, K) in voxels."""

    view: View
    distances: Float

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The largest piece inside the border."""
        return largest_piece(self.distances[0] > 0)


def network_of(runtime: Runtime, unseen: float) -> Network:
    """The network that `runtime` runs; `unseen` is that of the settings it was trained with."""
    return Network(lambda image: runtime.run(image[None, None])[0][0], unseen)


def unseen_by(model: ModelFolder) -> float:
    """What the brain model sees where a scan does not reach, as its recipe says."""
    return float(model.description.recipe.get("study", {}).get("unseen", 0.0))


def find_brain(image: Image, grids: Grids, network: Network) -> BrainLocation:
    """Look at the whole field of view, then again around what was found there."""
    view = view_on(image, whole_field(image, grids.coarse), network.unseen)
    first = BrainLocation(view, network(view.image))
    if not first.mask.any():
        return first
    view = view_on(image, grid_around(first, grids.coarse, SECOND_PASS), network.unseen)
    second = BrainLocation(view, network(view.image))
    return second if second.mask.any() else first


def view_on(image: Image, grid: Grid, unseen: float = 0.0) -> View:
    """`image` on the parallel `grid`, normalised; `unseen` where it does not reach."""
    values = resample_aligned(image.data, image.affine, grid, outside=float("nan"))
    inside = np.isfinite(values)
    levels = normalise_percentiles(np.where(inside, values, 0), inside)
    return View(grid, np.where(inside, levels, np.float32(unseen)), inside)


def whole_field(image: Image, shape: Size) -> Grid:
    """The grid of `shape` that just covers the whole scan."""
    data, affine = orient(image.data, image.affine, "RAS")
    extent = np.array(data.shape) * np.asarray(affine.spacing)
    spacing = float((np.maximum(extent, SMALLEST_VIEW) / np.array(shape)).max())
    centre = affine.apply((np.array(data.shape) - 1)[None] / 2)[0]
    return centred_grid(affine, centre, shape, spacing)


def grid_around(found: BrainLocation, shape: Size, margin: float) -> Grid:
    """The grid of `shape` in which the brain that was found leaves `margin` of free room."""
    affine, box = found.view.grid.affine, first_and_last(found.mask)
    size = (box[:, 1] - box[:, 0] + 1) * np.asarray(affine.spacing)
    spacing = float((size * (1 + margin) / np.array(shape)).max())
    centre = affine.apply(box.mean(axis=1)[None])[0]
    return centred_grid(affine, centre, shape, spacing)


def first_and_last(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first and last voxel of `mask` (I, J, K) on each axis, (3, 2)."""
    return np.array([(part.start, part.stop - 1) for part in bounding_box(mask)], np.int64)


def centred_grid(axes: Affine, centre: NDArray[np.float64], shape: Size, spacing: float) -> Grid:
    """A grid of `shape` with the directions of `axes`, isotropic `spacing` and `centre` in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(axes.direction) * spacing
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, Affine(matrix))


@dataclass(frozen=True)
class BrainFinder:
    """Finds brains with an exported graph; plain data, so that it can go to other processes.

    graph   The brain model's graph.
    sha256  Of the model, which tells one brain model from another.
    grids   The working grids that a prediction of the lesion will use.
    unseen  What the brain model sees where a scan does not reach.
    """

    graph: Graph
    sha256: str
    grids: Grids
    unseen: float = 0.0

    @property
    def identity(self) -> str:
        """What a box depends on beside the scan."""
        return f"{self.sha256} {self.grids.coarse}"

    def box(self, image: Image, grid: Grid) -> NDArray[np.int64] | None:
        """First and last voxel of `grid` on each axis, (3, 2), that the brain in `image` reaches.

        None when no brain is found.
        """
        found = find_brain(straightened(image), self.grids, _network(self.graph, self.unseen))
        return box_on(found.mask, found.view.grid, grid) if found.mask.any() else None


def brain_finder(grids: Grids) -> BrainFinder:
    """The finder of the shipped brain model; raises RunError when that is not installed."""
    try:
        model = find_model(LOCATOR)
    except ModelError as error:
        raise RunError(
            f"Training on lesions needs the model {LOCATOR!r} to find the brain, which is not "
            f"installed ({error}): train it or get it first."
        ) from error
    if isinstance(model, PublishedFile) or model.graph is None:
        raise RunError(
            f"Training on lesions needs the model {LOCATOR!r} with its exported graph to find the "
            f"brain, but {model.path} has none: train it or get it again."
        )
    return BrainFinder(model.graph, model.sha256, grids, unseen_by(model))


def box_on(mask: NDArray[np.bool_], source: Grid, target: Grid) -> NDArray[np.int64]:
    """The box (3, 2) in voxels of `target` that encloses `mask` (I, J, K) on the grid `source`."""
    ends = corners(first_and_last(mask) + np.array([-0.5, 0.5]))
    reached = target.affine.inverse.apply(source.affine.apply(ends))
    first, last = np.round(reached.min(axis=0) + 0.5), np.round(reached.max(axis=0) - 0.5)
    box: NDArray[np.int64] = np.stack([first, np.maximum(first, last)], axis=1).astype(np.int64)
    return box


@lru_cache(maxsize=1)
def _network(graph: Graph, unseen: float) -> Network:
    from encephalon.inference.runtimes import open_runtime

    return network_of(open_runtime(graph, "cpu", threads=1), unseen)


def areas_across(found: BrainLocation, network: Network) -> dict[str, float]:
    """Area (cm²) of brain across each face of the field of view once the scan is continued.

    By the name of the side; sides without any are left out, and so are faces that the coarse grid,
    which leaves room around the brain, does not reach.
    """
    view = found.view
    field = bounding_box(view.inside)
    sizes = view.image.shape
    room = [(part.start, size - part.stop) for part, size in zip(field, sizes, strict=True)]
    if not (np.any(room) and found.mask.any()):
        return {}
    continued = np.pad(view.image[field], room, mode="symmetric")
    brain = largest_piece(network(continued)[0] > 0)
    areas = {}
    for axis, part in enumerate(field):
        for side, inner, outer in _faces(view.grid.affine, axis, (part.start, part.stop - 1)):
            if 0 <= outer < sizes[axis]:
                # The face lies between the last plane inside and the first one outside.
                voxels = np.count_nonzero(brain.take([inner, outer], axis)) / 2
                areas[side] = voxels * _pixel(view.grid.affine, axis)
    return {side: area for side, area in areas.items() if area}


def areas_on_faces(mask: NDArray[np.bool_], grid: Grid) -> dict[str, float]:
    """Area (cm²) of `mask` (I, J, K) on each face of the field of view that it touches, by side."""
    areas = {}
    for axis in range(3):
        for side, inner, _ in _faces(grid.affine, axis, (0, mask.shape[axis] - 1)):
            voxels = np.count_nonzero(mask.take(inner, axis))
            areas[side] = voxels * _pixel(grid.affine, axis)
    return {side: area for side, area in areas.items() if area}


def larger_areas(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """The larger of the two areas of each side."""
    sides = [side for side in SIDES.values() if side in first or side in second]
    return {side: max(first.get(side, 0.0), second.get(side, 0.0)) for side in sides}


def _faces(affine: Affine, axis: int, ends: tuple[int, int]) -> tuple[tuple[str, int, int], ...]:
    """Both faces across `axis`: side, and the planes on its inner and its outer side."""
    letter = affine.codes[axis]
    first, last = ends
    return (SIDES[_OPPOSITE[letter]], first, first - 1), (SIDES[letter], last, last + 1)


def _pixel(affine: Affine, axis: int) -> float:
    """Area (cm²) of a voxel's face across `axis`; right for leaning axes too."""
    edges = np.delete(affine.matrix[:3, :3], axis, axis=1)
    return float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]))) / 100
