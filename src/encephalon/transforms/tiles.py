# SPDX-License-Identifier: Apache-2.0
"""Vary a batch of tiles, images and masks alike: draw first, then apply; in 2-D and in 3-D.

A recipe lists operations by name, { name = "zoom", probability = 0.5, scale = [1, 2] }, in the
order in which they are applied; a study's settings have them as `tuple[AnyOperation, ...]`. What
moves voxels moves those of the mask the same way, to the nearest; a tile of one slice is
(C, 1, Y, X). The operations and their ranges are those of MTNeuro (`transforms/xray.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

Array = NDArray[Any]
Image = NDArray[np.float32]
At = NDArray[np.float64]
"""Eight numbers in [0, 1): the drawn share of each range, and of the way to each place."""

Share = Annotated[float, Field(ge=0, le=1)]
Above = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(gt=0)]
Magnification = Annotated[float, Field(ge=1, le=10)]
Factor = Annotated[float, Field(ge=0.1, le=10)]
Amount = Annotated[float, Field(ge=0, le=10)]
Half = Annotated[float, Field(ge=0, le=0.5)]


@dataclass(frozen=True, eq=False)
class Tile:
    """One sample: image (C, Z, Y, X), and what is known of it.

    mask    (Z, Y, X), whole numbers
    shares  (classes,), how much of each class the tile is
    """

    image: Image
    mask: Array | None = None
    shares: NDArray[np.float32] | None = None

    def each(self, change: Callable[[Array], Array]) -> Tile:
        """The tile whose image and mask, arrays (..., Z, Y, X), were both changed."""
        mask = None if self.mask is None else change(self.mask)
        return replace(self, image=change(self.image), mask=mask)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What one operation does to a batch: to which tiles, with which others, and how."""

    kept: NDArray[np.bool_]
    others: NDArray[np.int64]
    at: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What may happen to a tile, and the probability that it does."""

    # Recipes are read through pydantic, which finds here that unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    probability: Share = 0.5

    def apply(self, tile: Tile, other: Tile, at: At) -> Tile:
        """The tile varied as `at` says, perhaps by another of the batch."""
        raise NotImplementedError


class _Moving(Operation):
    """Moves voxels: of the image and the mask alike."""

    def apply(self, tile: Tile, other: Tile, at: At) -> Tile:
        del other
        return tile.each(lambda array: self.move(array, at))

    def move(self, array: Array, at: At) -> Array:
        """An array (..., Z, Y, X) moved."""
        raise NotImplementedError


class _Levels(Operation):
    """Changes the grey levels of the image, and nothing of the mask."""

    def apply(self, tile: Tile, other: Tile, at: At) -> Tile:
        del other
        return replace(tile, image=self.change(tile.image, at).astype(np.float32, copy=False))

    def change(self, image: Image, at: At) -> Array:
        """An image (C, Z, Y, X) changed."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Zoom(_Moving):
    """Magnify each slice about its middle by a factor within `scale`; its size stays."""

    name: Literal["zoom"] = "zoom"
    scale: tuple[Magnification, Magnification] = (1.0, 2.0)

    def move(self, array: Array, at: At) -> Array:
        return _sampled(array, np.eye(2) / _between(self.scale, at[0]), array.shape[-2:])


@dataclass(frozen=True, kw_only=True)
class Rotate(_Moving):
    """Turn each slice by up to `degrees`, and keep the middle of `size`, or all; edges reflect.

    It may also be magnified by a factor within `scale`, or made smaller.
    """

    name: Literal["rotate"] = "rotate"
    degrees: Annotated[float, Field(ge=0, le=180)] = 45.0
    size: tuple[Side, Side] | None = None
    scale: tuple[Factor, Factor] = (1.0, 1.0)

    def move(self, array: Array, at: At) -> Array:
        angle = math.radians(_between((-self.degrees, self.degrees), at[0]))
        cosine, sine = math.cos(angle), math.sin(angle)
        whole = array.shape[-2:]
        size = [min(pair) for pair in zip(self.size or whole, whole, strict=True)]
        turn = np.array([[cosine, -sine], [sine, cosine]])
        return _sampled(array, turn / math.exp(_between(np.log(self.scale), at[1])), size)


@dataclass(frozen=True, kw_only=True)
class Flip(_Moving):
    """Mirror the columns (left and right), the rows or the slices."""

    name: Literal["flip"] = "flip"
    axis: Literal["columns", "rows", "slices"] = "columns"

    def move(self, array: Array, at: At) -> Array:
        del at
        return np.flip(array, {"columns": -1, "rows": -2, "slices": -3}[self.axis])


@dataclass(frozen=True, kw_only=True)
class RandomCrop(_Moving):
    """Cut out `size` (Y, X) somewhere: for each sample, or, as published, once for each batch.

    A side that is no larger stays, as after a rotation that has kept the middle.
    """

    name: Literal["random-crop"] = "random-crop"
    probability: Share = 1.0
    size: tuple[Side, Side] = (128, 128)
    per: Literal["sample", "batch"] = "sample"

    def move(self, array: Array, at: At) -> Array:
        return _cut(array, self.size, at)


@dataclass(frozen=True, kw_only=True)
class SliceCrop(_Moving):
    """Keep `depth` slices in a row."""

    name: Literal["slice-crop"] = "slice-crop"
    probability: Share = 1.0
    depth: Side = 10

    def move(self, array: Array, at: At) -> Array:
        return _cut(array, (self.depth, *array.shape[-2:]), at)


@dataclass(frozen=True, kw_only=True)
class LocalCutMix(_Moving):
    """Exchange two patches, whose sides are a share `cut` of a window of `size` (Y, X) pixels.

    They lie in its left and its right half, so that they never overlap.
    """

    name: Literal["local-cut-mix"] = "local-cut-mix"
    size: tuple[Side, Side] = (64, 64)
    cut: tuple[Half, Half] = (0.15, 0.45)

    def move(self, array: Array, at: At) -> Array:
        made = array.copy()
        window = made[_window(made, self.size, at[:2])]
        rows, columns = window.shape[-2:]
        half = columns // 2
        height = max(1, round(_between(self.cut, at[2]) * rows))
        width = max(1, min(half, round(_between(self.cut, at[3]) * columns)))
        left, right = window[..., :half], window[..., half:]
        first = left[_window(left, (height, width), at[4:6])]
        second = right[_window(right, (height, width), at[6:8])]
        first[...], second[...] = second.copy(), first.copy()
        return made


@dataclass(frozen=True, kw_only=True)
class MixUp(Operation):
    """Add the share `share` of another tile; the mask stays that of the larger part."""

    name: Literal["mix-up"] = "mix-up"
    share: tuple[Half, Half] = (0.0, 0.5)

    def apply(self, tile: Tile, other: Tile, at: At) -> Tile:
        share = np.float32(_between(self.share, at[0]))
        image = (1 - share) * tile.image + share * other.image
        return replace(tile, image=image, shares=_mixed(tile, other, share))


@dataclass(frozen=True, kw_only=True)
class CutMix(Operation):
    """Replace a window of `size` (Y, X) by the same window of another tile."""

    name: Literal["cut-mix"] = "cut-mix"
    size: tuple[Side, Side] = (32, 32)

    def apply(self, tile: Tile, other: Tile, at: At) -> Tile:
        window = _window(tile.image, self.size, at)
        mask = tile.mask
        if mask is not None and other.mask is not None:
            mask = _filled(mask, window, other.mask[window])
        share = np.float32(tile.image[window].size / tile.image.size)
        image = _filled(tile.image, window, other.image[window])
        return Tile(image, mask, _mixed(tile, other, share))


@dataclass(frozen=True, kw_only=True)
class Solarise(_Levels):
    """Add up to `addition` to levels in [0, 1], and invert those at `threshold` and above."""

    name: Literal["solarise"] = "solarise"
    threshold: tuple[Share, Share] = (0.4, 0.6)
    addition: Share = 0.1

    def change(self, image: Image, at: At) -> Array:
        added = np.float32(_between((-self.addition, self.addition), at[0]))
        levels = (image + added).clip(0, 1)
        return np.where(levels >= _between(self.threshold, at[1]), 1 - levels, levels)


@dataclass(frozen=True, kw_only=True)
class Sharpen(_Levels):
    """Add up to `amount` times what each slice has more than its mean of 3 x 3 pixels."""

    name: Literal["sharpen"] = "sharpen"
    amount: Annotated[float, Field(ge=0, le=10)] = 0.5

    def change(self, image: Image, at: At) -> Array:
        from scipy import ndimage

        smooth = ndimage.uniform_filter(image, (1, 1, 3, 3), mode="mirror")
        sharper: Array = image + np.float32(self.amount * at[0]) * (image - smooth)
        return sharper.clip(0, 1)


@dataclass(frozen=True, kw_only=True)
class Levels(_Levels):
    """Change levels in [0, 1] by up to so much, as microscopes and stains do.

    gamma       exponent e^±gamma
    contrast    factor e^±contrast of the difference to the mean
    brightness  what is added, ±
    blur        standard deviation within a slice, pixels
    noise       standard deviation
    """

    name: Literal["levels"] = "levels"
    gamma: Amount = 0.3
    contrast: Amount = 0.3
    brightness: Share = 0.1
    blur: Amount = 0.0
    noise: Share = 0.05

    def change(self, image: Image, at: At) -> Array:
        from scipy import ndimage

        levels = image.clip(0, 1) ** np.float32(math.exp(self.gamma * (2 * at[0] - 1)))
        mean = levels.mean()
        levels = (levels - mean) * np.float32(math.exp(self.contrast * (2 * at[1] - 1))) + mean
        blur = self.blur * at[3]
        levels = ndimage.gaussian_filter(levels, (0, 0, blur, blur)) if blur > 0.1 else levels
        rng = np.random.default_rng(int(at[5] * 2**53))
        noise = self.noise * at[4] * rng.standard_normal(levels.shape, np.float32)
        changed: Array = levels + self.brightness * (2 * at[2] - 1) + noise
        return changed.clip(0, 1)


@dataclass(frozen=True, kw_only=True)
class Erase(_Levels):
    """Set a rectangle of the share `area` of each slice to 0, or to the mean of its channel.

    `ratio` is that of its sides.
    """

    name: Literal["erase", "erase-to-mean"] = "erase"
    area: Annotated[float, Field(gt=0, lt=1)] = 0.1
    ratio: tuple[Above, Above] = (0.3, 3.3)

    def change(self, image: Image, at: At) -> Array:
        rows, columns = image.shape[-2:]
        pixels = self.area * rows * columns
        ratio = math.exp(_between((math.log(self.ratio[0]), math.log(self.ratio[1])), at[2]))
        height = min(rows, max(1, round(math.sqrt(pixels * ratio))))
        size = (height, min(columns, max(1, round(pixels / height))))
        level = image.mean(axis=(1, 2, 3), keepdims=True) if self.name == "erase-to-mean" else 0
        return _filled(image, _window(image, size, at), level)


@dataclass(frozen=True, kw_only=True)
class Normalise(_Levels):
    """Take `mean` away and divide by `std`: those of the published training, if not given."""

    name: Literal["normalise"] = "normalise"
    probability: Share = 1.0
    mean: float = 0.4894
    std: Above = 0.1238

    def change(self, image: Image, at: At) -> Array:
        del at
        normalised: Array = (image - np.float32(self.mean)) / np.float32(self.std)
        return normalised


_Geometry = Zoom | Rotate | Flip | RandomCrop | SliceCrop | LocalCutMix
_Mixture = MixUp | CutMix
_Grey = Solarise | Sharpen | Levels | Erase | Normalise
AnyOperation = Annotated[_Geometry | _Mixture | _Grey, Field(discriminator="name")]
"""What a recipe may list."""


def draw(rng: np.random.Generator, operations: Sequence[Operation], count: int) -> list[Drawn]:
    """Draw what each operation does to `count` tiles; as many numbers whatever they are."""
    record = []
    for operation in operations:
        kept = rng.random(count) < operation.probability
        others, at = rng.integers(count, size=count), rng.random((count, 8))
        if getattr(operation, "per", "sample") == "batch":
            at[:] = at[0]
        record.append(Drawn(kept, others, at))
    return record


def apply(
    tiles: Sequence[Tile], operations: Sequence[Operation], record: Sequence[Drawn]
) -> list[Tile]:
    """The tiles varied as drawn; a pure function of its arguments."""
    made = list(tiles)
    for operation, drawn in zip(operations, record, strict=True):
        made = [
            operation.apply(tile, made[drawn.others[n]], drawn.at[n]) if drawn.kept[n] else tile
            for n, tile in enumerate(made)
        ]
    return [tile.each(np.ascontiguousarray) for tile in made]


def _between(ends: Sequence[float] | NDArray[np.float64], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


def _window(array: Array, size: Sequence[int], at: At) -> Any:
    """Where `size` lies in the last axes of an array, `at` of the way through what is left."""
    window = []
    for side, wanted, share in zip(array.shape[-len(size) :], size, at, strict=False):
        kept = min(side, wanted)
        start = int(share * (side - kept + 1))
        window.append(slice(start, start + kept))
    return (..., *window)


def _cut(array: Array, size: Sequence[int], at: At) -> Array:
    part: Array = array[_window(array, size, at)]
    return part


def _filled(array: Array, window: Any, values: Any) -> Array:
    made = array.copy()
    made[window] = values
    return made


def _mixed(tile: Tile, other: Tile, share: np.float32) -> NDArray[np.float32] | None:
    if tile.shares is None or other.shares is None:
        return tile.shares
    return (1 - share) * tile.shares + share * other.shares


def _sampled(array: Array, matrix: NDArray[np.float64], size: Sequence[int]) -> Array:
    """Slices about their middle, of `size` (Y, X), whose steps are `matrix` steps of the old."""
    from scipy import ndimage

    middle = np.array([(side - 1) / 2 for side in array.shape[-2:]])
    offset = middle - matrix @ [(side - 1) / 2 for side in size]
    order = 1 if np.issubdtype(array.dtype, np.floating) else 0
    made = np.empty((*array.shape[:-2], *size), array.dtype)
    for place in np.ndindex(*array.shape[:-2]):
        ndimage.affine_transform(
            array[place], matrix, offset, output=made[place], order=order, mode="mirror"
        )
    return made
