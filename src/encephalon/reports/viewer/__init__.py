# SPDX-License-Identifier: Apache-2.0
"""A viewer of volumes within a page: slices are scrolled, zoomed and windowed, masks laid over.

The grey levels travel in the page as a JPEG mosaic of axial slices with 8 bits, the labels of masks
as a PNG that loses nothing. A head of 1 mm takes about 1 MB, and the browser does all the rest with
a plain canvas, so the page opens at once on machines without graphics hardware too. NiiVue, the
viewer of the field, needs WebGL 2, 2 MB of script and the whole NIfTI file in each page.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil, floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, bounding_box, nearest_axes, orient
from encephalon.reports.format import Html, tag
from encephalon.reports.images import Colour
from encephalon.reports.slices import display_window

__all__ = ["BODY", "HINT", "USE", "Axes", "ViewedImage", "ViewedLabel", "volume_viewer"]

#: How a viewer is used, for readers; of a body also on which side what is.
USE = (
    "Click a plane to move the others there; then the wheel scrolls its slices, and zooms with "
    "Ctrl. Drag with Shift to move a plane that is enlarged. Grey levels are shown with 8 bits; "
    "the file has all of them."
)
HINT = f"{USE} The left side of the body is on the left, unless you mirror the planes."
#: Voxels that one image of a viewer has at the most: a megabyte or so of JPEG.
MOST_VOXELS = 9_000_000
# Quality of the JPEG; its blocks, pixels, which no two slices may share.
_QUALITY, _BLOCK = 82, 8
# Air left around the head, mm; what is brighter than this share of the window is no air; the share
# of a plane that a head fills at the least.
_MARGIN, _AIR, _FILLED = 5.0, 0.12, 0.004
# Room beyond the window that the reader may choose, as a share of it.
_ROOM = 0.5
_KEYS = "arrow keys move, Page Up and Page Down scroll, plus and minus zoom"


@dataclass(frozen=True, eq=False)
class ViewedImage:
    """One image of a viewer: its name, its voxels, and how they lie on the grid.

    data    (I, J, K) on the viewer's grid, or with fewer planes along its last axis
    places  of each position along the last axis of the grid the plane of `data` that is there,
            (K,); None for an image on the grid itself
    window  values that are black and white at first; by default those that show it well
    """

    name: str
    data: NDArray[Any]
    places: NDArray[np.intp] | None = None
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class Axes:
    """What the axes of a viewer are called, and which way they run.

    planes    names of the planes across the first, second and third axis
    sides     what is at the left and the right edge of each
    unit      of the spacing, and of the places that are told
    signs     1 for an axis that is told as the affine has it, -1 for one with the other sign, such
              as rows, which are counted downwards
    mirrored  what a switch is called that swaps left and right; "" for none
    outside   what is said of a voxel without a label
    """

    planes: tuple[str, str, str]
    sides: tuple[tuple[str, str], ...]
    unit: str
    signs: tuple[int, int, int] = (1, 1, 1)
    mirrored: str = ""
    outside: str = "outside the mask"


BODY = Axes(
    ("Sagittal", "Coronal", "Axial"),
    (("P", "A"), ("L", "R"), ("L", "R")),
    "mm",
    mirrored="Left on the right",
)
"""Those of a body: x to the right, y to the front, z to the top."""


@dataclass(frozen=True)
class ViewedLabel:
    """A label of the mask: its number from 1 to 255, its name and its colour."""

    value: int
    name: str
    colour: Colour


def volume_viewer(
    images: Sequence[ViewedImage],
    affine: Affine,
    mask: NDArray[Any] | None = None,
    labels: Sequence[ViewedLabel] = (),
    axes: Axes = BODY,
) -> Html:
    """A viewer of images on one grid, with the labels of a mask laid over them.

    images  what the reader changes between; the first two flicker
    affine  of the grid
    mask    (I, J, K) labels, 0 for none
    axes    what they are called

    The first image decides what is cut away as air. Raises GeometryError for an image or mask that
    is not on the grid.
    """
    shape = _grid_shape(images[0])
    shapes = {each.name: _grid_shape(each) for each in images}
    for name, found in (shapes if mask is None else shapes | {"mask": mask.shape}).items():
        if found != shape:
            raise GeometryError(f"The viewer's {name} is {found} and its grid {shape}: resample.")
    windows = [each.window or display_window(_finite(each.data)) for each in images]
    frame = _Frame.around(images[0], affine, windows[0], mask)
    told, pictures = [], []
    for each, window in zip(images, windows, strict=True):
        levels, facts = frame.levels(each, window)
        told.append({"name": each.name, **facts})
        pictures.append(_embedded(levels, "JPEG", quality=_QUALITY))
    if mask is not None:
        pictures.append(_embedded(frame.labels(mask), "PNG", compress_level=6))
    facts = frame.facts(axes) | {"images": told, "labels": [vars(each) for each in labels]}
    plain = json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")
    return tag(
        "div",
        tag("script", Html(plain), type="application/json", class_="viewer-facts"),
        *pictures,
        _canvases(frame, axes),
        tag("output", class_="viewer-said"),
        _controls(images, bool(labels), frame.shape, axes),
        class_="viewer",
        role="group",
        aria_label="Viewer of slices",
    )


@dataclass(frozen=True, eq=False)
class _Frame:
    """What of a grid is shown: a box of it, in RAS+ order and with `steps` voxels made one.

    affine  of the whole grid in RAS+ order
    last    the axis in RAS+ order that was the last of the grid, and whether it was turned round
    """

    affine: Affine
    original: Affine
    box: tuple[slice, slice, slice]
    steps: tuple[int, int, int]
    at: tuple[int, int, int]
    last: tuple[int, bool]

    @classmethod
    def around(
        cls,
        image: ViewedImage,
        affine: Affine,
        window: tuple[float, float],
        mask: NDArray[Any] | None,
    ) -> _Frame:
        """The frame that holds what is no air."""
        worlds, signs = nearest_axes(affine.direction)
        data = image.data if image.places is None else image.data[..., image.places]
        turned, turned_affine = orient(data, affine, "RAS")
        inside = turned > window[0] + _AIR * (window[1] - window[0])
        held = None if mask is None else orient(np.asarray(mask != 0), affine, "RAS")[0]
        boxes, at = [], []
        for axis, spacing in enumerate(turned_affine.spacing):
            others = tuple({0, 1, 2} - {axis})
            filled = inside.mean(axis=others) > _FILLED
            main = filled if held is None or not held.any() else held.any(axis=others)
            filled |= main
            filled = filled if filled.any() else ~filled
            main = main if main.any() else filled
            boxes.append(bounding_box(filled, round(_MARGIN / spacing))[0])
            at.append(round(float(np.flatnonzero(main).mean())) - boxes[-1].start)
        steps = _steps([each.stop - each.start for each in boxes], turned_affine.spacing)
        x, y, z = boxes
        i, j, k = (place // step for place, step in zip(at, steps, strict=True))
        return cls(turned_affine, affine, (x, y, z), steps, (i, j, k), (worlds[2], signs[2] < 0))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the viewer along x, y and z."""
        i, j, k = (
            max(1, (part.stop - part.start) // step)
            for part, step in zip(self.box, self.steps, strict=True)
        )
        return i, j, k

    @property
    def spacing(self) -> list[float]:
        """Their size, mm."""
        return [a * b for a, b in zip(self.affine.spacing, self.steps, strict=True)]

    def facts(self, axes: Axes) -> dict[str, Any]:
        """What the script must know of the grid and its axes."""
        # The middle of the first voxel of the viewer, in voxels of the grid.
        first = [
            part.start + (step - 1) / 2 for part, step in zip(self.box, self.steps, strict=True)
        ]
        matrix = self.affine.matrix[:3].copy()
        matrix[:, 3] += matrix[:, :3] @ first
        matrix[:, :3] *= self.steps
        matrix *= np.array(axes.signs)[:, None]
        return {
            "shape": self.shape,
            "spacing": [round(each, 5) for each in self.spacing],
            "affine": np.round(matrix, 5).tolist(),
            "at": [min(n, size - 1) for n, size in zip(self.at, self.shape, strict=True)],
            "sides": axes.sides,
            "unit": axes.unit,
            "decimals": max(0, min(3, 1 - floor(log10(min(self.spacing))))),
            "outside": axes.outside,
        }

    def levels(
        self, image: ViewedImage, window: tuple[float, float]
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """The 256 levels of an image in the box, and what they mean."""
        turned = orient(_finite(image.data), self.original, "RAS")[0]
        box, steps = list(self.box), list(self.steps)
        placed: dict[str, Any] = {}
        if image.places is not None:
            axis, flipped = self.last
            along: NDArray[Any] = np.asarray(image.places)
            along = image.data.shape[2] - 1 - along[::-1] if flipped else along
            shown = along[self.box[axis]][:: self.steps[axis]][: self.shape[axis]]
            first = int(shown.min())
            box[axis], steps[axis] = slice(first, int(shown.max()) + 1), 1
            placed = {"axis": axis, "places": (shown - first).tolist()}
        part = _shrunk(turned[tuple(box)], steps)
        black, white = window
        low = max(float(part.min()), black - _ROOM * (white - black))
        high = max(white, min(float(part.max()), white + _ROOM * (white - black)))
        scaled = np.clip((part - low) * (255.0 / max(high - low, 1e-12)), 0, 255)
        facts = {"low": low, "high": high, "black": black, "white": white, "shape": part.shape}
        return np.rint(scaled).astype(np.uint8), facts | placed

    def labels(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """The labels in the box; of voxels made one, that in their middle."""
        turned = orient(np.asarray(mask), self.original, "RAS")[0][self.box]
        middle = tuple(slice(step // 2, None, step) for step in self.steps)
        i, j, k = self.shape
        return np.asarray(turned[middle][:i, :j, :k]).astype(np.uint8)


def _grid_shape(image: ViewedImage) -> tuple[int, ...]:
    """The shape of the grid that an image lies on."""
    if image.places is None:
        return image.data.shape
    return (*image.data.shape[:2], len(image.places))


def _finite(data: NDArray[Any]) -> NDArray[np.float32]:
    return np.nan_to_num(np.asarray(data, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _steps(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, int, int]:
    """How many voxels become one along each axis, so that no more than the most are left."""
    wanted = min(spacing)
    while True:
        i, j, k = (max(1, round(wanted / step)) for step in spacing)
        if np.prod([n // step for n, step in zip(shape, (i, j, k), strict=True)]) <= MOST_VOXELS:
            return i, j, k
        wanted *= 1.25


def _shrunk(part: NDArray[np.float32], steps: Sequence[int]) -> NDArray[np.float32]:
    """The means of boxes of `steps` voxels; what is left over at the end is cut off."""
    for axis, step in enumerate(steps):
        count = part.shape[axis] // step
        if step > 1 and count:
            cut = np.take(part, np.arange(count * step), axis)
            split = (*part.shape[:axis], count, step, *part.shape[axis + 1 :])
            part = cut.reshape(split).mean(axis=axis + 1)
    return part


def _embedded(levels: NDArray[np.uint8], form: str, **options: Any) -> Html:
    """A mosaic of the planes along z, as many beside each other as make it square."""
    from PIL import Image

    x, y, z = levels.shape
    wide, high = (ceil(n / _BLOCK) * _BLOCK for n in (x, y))
    padding = (0, high - y), (0, wide - x)
    columns = max(1, round((z * high / wide) ** 0.5))
    mosaic = np.zeros((ceil(z / columns) * high, columns * wide), np.uint8)
    for place in range(z):
        row, column = divmod(place, columns)
        # Edges are repeated up to the end of a block, so that no slice leaves a trace in the next.
        tile = np.pad(levels[..., place].T, padding, mode="edge")
        mosaic[row * high : (row + 1) * high, column * wide : (column + 1) * wide] = tile
    buffer = BytesIO()
    Image.fromarray(mosaic).save(buffer, format=form, **options)
    address = f"data:image/{form.lower()};base64,{b64encode(buffer.getvalue()).decode('ascii')}"
    return tag("img", src=address, alt="", class_="viewer-levels")


def _canvases(frame: _Frame, axes: Axes) -> Html:
    """The three planes, as wide as they are in truth, and room for what paper shows of each."""
    across, deep, _ = (n * step for n, step in zip(frame.shape, frame.spacing, strict=True))
    columns = " ".join(f"minmax(0, {width:.4g}fr)" for width in (deep, across, across))
    drawn = list[Html]()
    for place, name in enumerate(axes.planes):
        label = f"{name} slice; {_KEYS}"
        about = {"tabindex": "0", "role": "application", "aria_label": label}
        drawn.append(tag("canvas", data_of=place, **about))
        drawn.append(tag("img", data_of=place, class_="viewer-printed", alt=f"{name} slice"))
    return tag("div", *drawn, class_="viewer-planes", style=f"--columns:{columns}")


def _controls(
    images: Sequence[ViewedImage], labelled: bool, shape: Sequence[int], axes: Axes
) -> Html:
    """What the reader may change: image, slices, window, zoom, mask."""
    shown: list[Html] = []
    if len(images) > 1:
        radios = [
            tag("label", tag("input", type="radio", data_image=n, name="viewer-image"), each.name)
            for n, each in enumerate(images)
        ]
        shown.append(tag("fieldset", tag("legend", "Image"), *radios))
        shown.append(_button("flicker", "Flicker", aria_pressed="false"))
    for name, count in zip(axes.planes, shape, strict=True):
        slider = tag("input", type="range", class_="viewer-slice", min=0, max=count - 1, value=0)
        shown.append(tag("label", name, slider, tag("output")))
    shown.append(_slider("black", "Black", -50, 100, 0))
    shown.append(_slider("white", "White", 1, 150, 100))
    shown.append(_slider("zoom", "Zoom", 1, 8, 1, 0.05))
    if labelled:
        shown.append(_slider("opacity", "Mask opacity", 0, 100, 25))
        outline = tag("input", type="checkbox", data_control="outline", checked=True)
        shown.append(tag("label", outline, "Outline"))
    if axes.mirrored:
        mirror = tag("input", type="checkbox", data_control="mirror")
        shown.append(tag("label", mirror, axes.mirrored))
    options = [tag("option", name, value=n) for n, name in enumerate(axes.planes)]
    planes = tag("select", tag("option", "all", value="all"), *options, data_control="planes")
    shown += [tag("label", "Planes", planes), _button("reset", "Reset")]
    # A form of its own, or the buttons of several viewers on a page would be one choice.
    return tag("form", *shown, class_="viewer-controls")


def _slider(name: str, title: str, low: int, high: int, value: int, step: float = 1) -> Html:
    slider = tag(
        "input", type="range", data_control=name, min=low, max=high, step=step, value=value
    )
    return tag("label", title, slider)


def _button(name: str, title: str, **more: Any) -> Html:
    return tag("button", title, type="button", data_control=name, **more)
